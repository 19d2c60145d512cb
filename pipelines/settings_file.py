"""config.yaml from its file, and what is wrong with it: path in the file, value, what was expected, the nearest name.

Whatever is right in a wrong file is read all the same, so that every other mistake can be found in one go: of the files
that it names, and (by ``itbwatch check``) of the codes that it maps.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
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
    settings, wrong, gone = _right_of({} if written is None else written)
    problems = [f"{path} {_problem(one)}" for one in wrong]
    return settings, problems + named(path, list(_files(settings, gone)))


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


Place = tuple[Any, ...]
"""The keys and the numbers in lists that lead to a value of the file."""

_LOOKS_AT: dict[Place, tuple[Place, ...]] = {
    ("exports",): (("source",), ("kafka", "topics"), ("file",)),
    ("kafka", "heartbeat_interval_ms"): (("kafka", "session_timeout_ms"),),
    ("kafka", "topics"): (("kafka", "topics"),),
}
"""What the checks of a place compare it with: where that is wrong, they say nothing."""

_STAND_INS: dict[Place, str] = {("cds_hooks", "url"): "https://to.be.corrected"}
"""What stands for a wrong value that others cannot be without."""


_DEFAULT_AGAINST: dict[Place, Place] = {
    ("kafka", "heartbeat_interval_ms"): ("kafka", "session_timeout_ms"),
    ("kafka", "security"): ("kafka", "bootstrap_servers"),
}
"""What a default does not fit to: that is in the file."""


def _right_of(data: Any) -> tuple[Settings, list[Any], set[Place]]:
    """What is right of the data, what is wrong with it, and the places of that.

    Some checks only run when the values that they compare are right, so what is wrong is taken out and the rest is
    looked at again.
    """
    wrong: list[Any] = []
    gone: set[Place] = set()
    while True:
        try:
            return Settings.model_validate(_without(data, gone)), wrong, gone
        except pydantic.ValidationError as error:
            errors: list[Any] = [
                one | {"loc": _originally(one["loc"], gone)} for one in error.errors(include_url=False)
            ]
        wrong += [one for one in errors if not _comes_of(one["loc"], gone)]
        found = {_in_the_file(one["loc"], data) for one in errors}
        if found <= gone or () in found:
            return Settings(), wrong, {()}
        gone |= found


def _without(data: Any, gone: set[Place], place: Place = ()) -> Any:
    if isinstance(data, dict):
        kept = {key: _without(one, gone, (*place, key)) for key, one in data.items() if (*place, key) not in gone}
        return kept | {key: _STAND_INS[at] for key in data if (at := (*place, key)) in gone and at in _STAND_INS}
    if isinstance(data, list):
        return [
            _without(one, gone, (*place, number)) for number, one in enumerate(data) if (*place, number) not in gone
        ]
    return data


def _originally(place: Place, gone: set[Place]) -> Place:
    """The place in the file of a place in what is left of it: lists have become shorter."""
    found: Place = ()
    for part in place:
        at = part
        if isinstance(part, int):
            for taken in sorted(one[-1] for one in gone if one[:-1] == found and isinstance(one[-1], int)):
                at += taken <= at
        found = (*found, at)
    return found


def _in_the_file(place: Place, data: Any) -> Place:
    """What must go so that nothing is wrong at a place: its value, or, where it is missing, what it is missing from."""
    found: Place = ()
    within = data
    for part in place:
        try:
            within = within[part]
        except (KeyError, IndexError, TypeError):
            return _in_the_file(_DEFAULT_AGAINST[place], data) if place in _DEFAULT_AGAINST else found
        found = (*found, part)
    return found


def _comes_of(place: Place, gone: set[Place]) -> bool:
    """Whether a mistake may be there only because of what was taken out."""
    looked_at = [place] + [also for at, those in _LOOKS_AT.items() if place[: len(at)] == at for also in those]
    return any(one[: len(at)] == at or at[: len(one)] == one for one in gone for at in looked_at)


def _files(settings: Settings, gone: set[Place]) -> Iterator[str]:
    """The mistakes of the files that the settings name, one line each."""
    yield from _shared(settings, gone)
    security = settings.kafka.security
    for key in ("ca_file", "certificate_file", "key_file"):
        file = getattr(security, key)
        if file is not None and not Path(file).is_file():
            yield f"{OURS} $.kafka.security.{key}: {file!r}: no such file; expected a PEM file; correct the path"
    if security.password_file is not None:
        yield from _told_by(read_secret_line, security.password_file, "$.kafka.security.password_file")
    if settings.store.url_file is not None:
        from pipelines.store.postgresql import read_address

        yield from _told_by(read_address, settings.store.url_file)
    if settings.cds_hooks.clients:
        from pipelines.web.cds_token import KeyFile

        for number, client in enumerate(settings.cds_hooks.clients):
            *_, at = _originally(("cds_hooks", "clients", number), gone)
            yield from _told_by(KeyFile, client.jwks_file, f"$.cds_hooks.clients[{at}].jwks_file")
    if settings.http.tokens_file is not None:
        yield from _told_by(read_tokens, settings.http.tokens_file)
    yield from _told_by(settings.identity_key)


def _told_by(read: Callable[..., object], *where: str) -> tuple[str, ...]:
    """What is wrong with a file, told by whoever reads it."""
    try:
        read(*where)
    except ConfigError as error:
        return error.problems
    return ()


def _shared(settings: Settings, gone: set[Place]) -> Iterator[str]:
    """Files that two settings name though one of them is written: also by another spelling, or through a link."""
    places: dict[str, str | None] = {}
    if settings.source == "file":
        places = {f"file.{key}": getattr(settings.file, key) for key in ("path", "alerts", "deadletters")}
        places |= {f"exports.{key}": name for key, name in settings.exports.model_dump().items()}
    places["store.path"] = settings.store.path if settings.store.url_file is None else None
    taken: dict[object, str] = {}
    for setting, name in places.items():
        if name is None or (name == "-" and setting != "file.path") or _comes_of(tuple(setting.split(".")), gone):
            continue
        with suppress(OSError):
            if Path(name).is_char_device():  # /dev/null takes everything
                continue
        first = taken.setdefault(_identity(name), setting)
        if first != setting:
            yield f"{OURS} $.{setting}: {name!r} is the file of $.{first} too; expected a file of its own"


def _identity(name: str) -> object:
    """What two names of one file have in common; also while it is not there."""
    try:
        found = Path(name).stat()
    except OSError:
        return os.path.realpath(name)
    return found.st_dev, found.st_ino


_EXPECTED = {
    "bool_type": "true or false",
    "string_type": "a text (quote it if it looks like a number)",
    "invalid_key": "a text (quote it if it looks like a number)",
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
    if kind == "invalid_key" or field == "[key]":  # a key that is no text, or an empty one
        location = location[:-1] if kind == "invalid_key" else location[:-2]
        shown = f"the key {_shown(value)}"
    else:
        shown = _shown(value)
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    if kind == "extra_forbidden":
        known = list(section.model_fields) if section else []
        return f"${path}: unknown key; expected one of {', '.join(known)}{nearest(field, known)}"
    if kind == "missing":
        return f"${path}: is missing; expected a value"
    if kind == "value_error":
        expected = str(context["error"])
        told = "" if isinstance(value, dict) else f"{shown}{'; ' if expected.startswith('expected') else ' '}"
        return f"${path}: {told}{expected}"
    if kind == "literal_error":
        options = context["expected"].replace("'", "")
        words = {option.lower(): option for option in options.replace(" or ", ", ").split(", ")}
        hint = nearest(str(value).lower(), words)
        return f"${path}: {_shown(value)}; expected {options}{hint}"
    fallback = str(error["msg"]).removeprefix("Input should be ").replace("Value error, ", "")
    return f"${path}: {shown}; expected {_EXPECTED.get(kind, fallback)}"


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
