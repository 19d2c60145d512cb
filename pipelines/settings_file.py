"""config.yaml from its file, and what is wrong with it: path in the file, value, what was expected, the nearest name.

Whatever is right in a wrong file is read all the same, so that every other mistake can be found in one go: of the files
that it names, and (by ``itbwatch check``) of the codes that it maps.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pydantic
from pydantic import BaseModel

from detector.errors import ConfigError, nearest
from pipelines.settings import Kafka, Settings, read_secret_line
from pipelines.web.tokens import read_tokens
from pipelines.yaml_files import read_yaml

OURS = "config.yaml"
"""How a mistake names the configuration where its path is not known."""


def load_settings(path: Path) -> Settings:
    """Read a configuration file; a key left out has its default.

    Raises:
        ConfigError: with every mistake of the file.
    """
    settings, problems = read_settings(path)
    if problems:
        raise ConfigError(problems)
    return settings


def read_settings(path: Path) -> tuple[Settings, list[str]]:
    """What is right in a configuration file, and every mistake of it.

    Raises:
        ConfigError: it is no YAML file.
    """
    written = read_yaml(path)
    data = {} if written is None else written
    try:
        settings, problems = Settings.model_validate(data), []
    except pydantic.ValidationError as error:
        wrong = error.errors(include_url=False)
        problems = [f"{path} {_problem(one)}" for one in wrong]
        settings = _without(data, [one["loc"] for one in wrong])
    return settings, problems + named(path, list(_files(settings)))


def named(path: Path, problems: Sequence[str]) -> list[str]:
    """Mistakes of the configuration with the path of its file."""
    return [f"{path}{one.removeprefix(OURS)}" if one.startswith(f"{OURS} $") else one for one in problems]


def with_overlay(settings: Settings, overlay: Path | None) -> Settings:
    """The same, with the overlay of ``--overlay`` where one was given."""
    return settings if overlay is None else settings.model_copy(update={"overlay": str(overlay)})


def with_servers(kafka: Kafka, servers: str) -> Kafka:
    """The same, asking the brokers of ``--bootstrap-servers``.

    Raises:
        ConfigError: they are none, with the words of a configuration file.
    """
    try:
        return Kafka.model_validate(kafka.model_dump() | {"bootstrap_servers": servers.split(",")})
    except pydantic.ValidationError as error:
        wrong: list[Any] = [one | {"loc": ("kafka", *one["loc"])} for one in error.errors(include_url=False)]
        raise ConfigError([f"--bootstrap-servers {_problem(one)}" for one in wrong]) from error


def _without(data: Any, locations: Sequence[tuple[Any, ...]]) -> Settings:
    """The settings without what is wrong at these places, or the defaults where that does not help."""
    left = copy.deepcopy(data)
    for location in locations:
        found = left
        *way, last = [part for part in location if part != "[key]"] or [None]
        try:
            for part in way:
                found = found[part]
            found.pop(last)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # gone already, or it was missing
    try:
        return Settings.model_validate(left)
    except pydantic.ValidationError:
        return Settings()


def _files(settings: Settings) -> Iterator[str]:
    """The mistakes of the files that the settings name, one line each."""
    security = settings.kafka.security
    for key in ("ca_file", "certificate_file", "key_file"):
        file = getattr(security, key)
        if file is not None and not Path(file).is_file():
            yield f"{OURS} $.kafka.security.{key}: {file!r}: no such file; expected a PEM file; correct the path"
    if security.password_file is not None:
        try:
            read_secret_line(security.password_file, "$.kafka.security.password_file")
        except ConfigError as error:
            yield from error.problems
    if settings.store.url_file is not None:
        from pipelines.store.postgresql import read_address

        try:
            read_address(settings.store.url_file)
        except ConfigError as error:
            yield from error.problems
    if settings.cds_hooks.clients:
        from pipelines.web.cds_token import KeyFile

        for number, client in enumerate(settings.cds_hooks.clients):
            try:
                KeyFile(client.jwks_file, f"$.cds_hooks.clients[{number}].jwks_file")
            except ConfigError as error:
                yield from error.problems
    if settings.http.tokens_file is not None:
        try:
            read_tokens(settings.http.tokens_file)
        except ConfigError as error:
            yield from error.problems
    try:
        settings.identity_key()
    except ConfigError as error:
        yield from error.problems


_EXPECTED = {
    "bool_type": "true or false",
    "string_type": "a text (quote it if it looks like a number)",
    "int_type": "a whole number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_too_short": "a text that is not empty",
}
"""What was expected, in the words of YAML, where the validator speaks of Python."""


def _problem(error: Any) -> str:
    """One mistake as ``$.path: value; expected ...; did you mean ...?``."""
    location, kind, value = error["loc"], error["type"], error["input"]
    section, field = _written(location[:-1]), str(location[-1]) if location else ""
    context = error.get("ctx") or {}
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part != "[key]")
    if kind == "extra_forbidden":
        known = list(section.model_fields) if section else []
        return f"${path}: unknown key; expected one of {', '.join(known)}{nearest(field, known)}"
    if kind == "missing":
        return f"${path}: is missing; expected a value"
    if kind == "value_error":
        expected = str(context["error"])
        return f"${path}: {'' if isinstance(value, dict) else f'{_shown(value)}; '}{expected}"
    if kind == "literal_error":
        options = context["expected"].replace("'", "")
        words = {option.lower(): option for option in options.replace(" or ", ", ").split(", ")}
        hint = nearest(str(value).lower(), words)
        return f"${path}: {_shown(value)}; expected {options}{hint}"
    fallback = str(error["msg"]).removeprefix("Input should be ").replace("Value error, ", "")
    return f"${path}: {_shown(value)}; expected {_EXPECTED.get(kind, fallback)}"


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) <= 60 else f"a {type(value).__name__} of {len(repr(value))} characters"


def _written(location: tuple[Any, ...]) -> type[BaseModel] | None:
    """The section of the settings that a path leads to. None = not a section."""
    found: Any = Settings
    for part in location:
        if isinstance(found, type) and issubclass(found, BaseModel):
            found = found.model_fields[part].annotation if part in found.model_fields else None
        else:
            found = get_args(found)[-1] if get_args(found) else None
        if get_origin(found) in (Union, types.UnionType):
            found = get_args(found)[0]
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None
