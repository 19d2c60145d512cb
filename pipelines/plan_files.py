"""The plan from its files: the catalogue and the rule book of ``detector/catalogue``, or a site's own copy of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import detector
from detector.catalogue.signals import Catalogue, Named, build_catalogue
from detector.errors import ConfigError
from detector.plan import PUBLIC_KEY, Plan, build_plan
from detector.rules.overlay import Overlay, overlaid, read_overlay
from models.bundle import names_of
from models.personal import PersonalBaseline
from models.quarantine import GuardedLearner
from pipelines.drift import read_reference
from pipelines.formats import code_of_topic
from pipelines.model_files import columns_of, manifest_of
from pipelines.settings import CodeMaps, Settings
from pipelines.settings_file import named, read_settings, with_overlay
from pipelines.yaml_files import read_yaml

CATALOGUE = Path(detector.__file__).parent / "catalogue"


def read_catalogue(folder: Path = CATALOGUE) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parsed ``signals.yaml`` and the parsed rule files by name.

    Raises:
        ConfigError: a file is missing or no YAML; every such file is named.
    """
    problems: list[str] = []

    def read(path: Path) -> Any:
        try:
            return read_yaml(path)
        except ConfigError as error:
            problems.extend(error.problems)
            return {}

    signals = read(folder / "signals.yaml")
    rules = {path.name: read(path) for path in sorted((folder / "rules").glob("*.yaml"))}
    if problems:
        raise ConfigError(problems)
    if not isinstance(signals, dict):
        raise ConfigError([f"{folder / 'signals.yaml'} $: {signals!r}; expected a mapping"])
    return signals, rules


def catalogue_of(settings: Settings) -> Path:
    """The folder of the catalogue that a site uses."""
    return Path(settings.rules.catalogue) if settings.rules.catalogue is not None else CATALOGUE


def overlay_of(settings: Settings) -> Overlay | None:
    """The site's overlay; None = it has none.

    Raises:
        ConfigError: with every mistake of the overlay, or of the rule files.
    """
    if settings.overlay is None:
        return None
    return _overlay(Path(settings.overlay), read_catalogue(catalogue_of(settings))[1])


def rules_of(settings: Settings) -> dict[str, Any]:
    """The parsed rule files of a site by name, with its overlay laid on.

    Raises:
        ConfigError: with every mistake of the overlay, or of the rule files.
    """
    rules = read_catalogue(catalogue_of(settings))[1]
    overlay = overlay_of(settings)
    return rules if overlay is None else overlaid(rules, overlay)


def load_site(config: Path | None, overlay: Path | None = None, *, all_files: bool = False) -> tuple[Settings, Plan]:
    """The settings of a site and the plan that they lead to, so that a user hears of every mistake at once.

    ``config`` None = the defaults; ``overlay`` None = that of the settings; ``all_files`` True looks at what only the
    service reads as well.

    Raises:
        ConfigError: with every mistake of every file.
    """
    settings, problems = (Settings(), []) if config is None else read_settings(config)
    settings = with_overlay(settings, overlay)
    plan, told = None, list[str]()
    try:
        plan = load_plan(settings)
    except ConfigError as error:
        told += error.problems
    if all_files:
        told += beside(settings, plan)[1]
    problems += named(config, told) if config is not None else told
    if problems or plan is None:
        raise ConfigError(dict.fromkeys(problems))
    return settings, plan


def beside(settings: Settings, plan: Plan | None) -> tuple[Plan | None, list[str]]:
    """The plan of the shadow (None = there is none, or it is wrong), and every mistake of what the service reads beside its
    own ``plan``: that one, and the reference of drift. ``plan`` None = it has mistakes itself.
    """
    problems: list[str] = []
    challenger = None
    try:
        if settings.drift.reference is not None:
            read_reference(Path(settings.drift.reference), plan.catalogue if plan is not None else None)
    except ConfigError as error:
        problems += error.problems
    try:
        chosen = shadow_settings(settings)
        if chosen is not None:
            challenger = load_plan(chosen)
    except ConfigError as error:
        problems += error.problems
    return challenger, problems


def shadow_settings(settings: Settings) -> Settings | None:
    """The settings of the challenger: the champion's, with what ``shadow`` names in place of it. None = no shadow."""
    shadow = settings.shadow
    if shadow is None:
        return None
    models = settings.models.model_copy(update={"folder": shadow.models or settings.models.folder})
    rules = settings.rules.model_copy(update={"catalogue": shadow.catalogue or settings.rules.catalogue})
    overlay = shadow.overlay or settings.overlay
    return settings.model_copy(update={"overlay": overlay, "rules": rules, "models": models, "shadow": None})


def load_plan(settings: Settings, *, scored: bool = True) -> Plan:
    """The plan of a site: the catalogue shipped here or its own copy, its identity key, its local codes, its models.

    ``scored`` False leaves the models out, for whoever fits new ones.

    Raises:
        ConfigError: with every mistake of every file.
    """
    problems: list[str] = []
    key = PUBLIC_KEY
    try:
        key = settings.identity_key()
    except ConfigError as error:
        problems += error.problems
    manifest = None
    try:
        manifest = manifest_of(settings) if scored and settings.models.enabled else None
    except ConfigError as error:
        problems += error.problems
    try:
        plan = plan_from_files(
            catalogue_of(settings),
            identity_key=key,
            pump_register_complete=settings.pump_register == "complete",
            code_map=_code_map(settings),
            convert_suspects=frozenset({"[degF]"} if settings.fahrenheit_feeds else ()),
            models=manifest,
            overlay=Path(settings.overlay) if settings.overlay is not None else None,
        )
    except ConfigError as error:
        raise ConfigError([*problems, *_with_topics(error.problems)]) from error
    problems += _of_topics(settings, plan.catalogue)
    if problems:
        raise ConfigError(problems)
    return plan


def load_catalogue(settings: Settings) -> Catalogue:
    """The signals and codes of a site alone, for whoever only decodes.

    Raises:
        ConfigError: with every mistake of signals.yaml and of the code map.
    """
    return build_catalogue(
        read_yaml(catalogue_of(settings) / "signals.yaml") or {}, "signals.yaml", _code_map(settings)
    )


def _code_map(settings: Settings) -> dict[str, Named]:
    """The site's own codes as the catalogue is to know them: those of all topics, and those of each."""
    named = {code: Named(site.signal, None, site.unit) for code, site in settings.code_map.items()}
    for topic in CodeMaps.model_fields:
        for code, site in settings.kafka.code_maps.of(topic).items():
            named[code_of_topic(topic, code)] = Named(site.signal, None, site.unit)
    return named


def _of_topics(settings: Settings, catalogue: Catalogue) -> Iterator[str]:
    """Codes of a topic that the catalogue knows as another signal: a standard code has one meaning everywhere."""
    for topic in CodeMaps.model_fields:
        for code, site in settings.kafka.code_maps.of(topic).items():
            known = catalogue.resolve_code(code) if code not in settings.code_map else None
            if known is not None and known.signal != site.signal:
                yield (
                    f"config.yaml $.kafka.code_maps.{topic}.{code}: names {known.signal!r} in the catalogue already;"
                    " expected a code of the site's own"
                )


def _with_topics(problems: Iterable[str]) -> list[str]:
    """Mistakes in codes of a topic under the key of config.yaml where they stand."""
    topics = "|".join(CodeMaps.model_fields)
    return [
        re.sub(rf"^config\.yaml \$\.code_map\.({topics})::", r"config.yaml $.kafka.code_maps.\1.", one)
        for one in problems
    ]


def plan_from_files(
    folder: Path = CATALOGUE,
    *,
    identity_key: bytes = PUBLIC_KEY,
    pump_register_complete: bool = False,
    code_map: Mapping[str, Named] | None = None,
    convert_suspects: frozenset[str] = frozenset(),
    models: Mapping[str, Any] | None = None,
    overlay: Path | None = None,
) -> Plan:
    """Build the plan; with the manifest of ``models`` it scores, and the file ``overlay`` changes its rules.

    Raises:
        ConfigError: with every mistake of every file.
    """
    signals, rules, problems = None, None, list[str]()
    try:
        signals, rules = read_catalogue(folder)
    except ConfigError as error:
        problems += error.problems
    if overlay is not None:
        try:
            laid = _overlay(overlay, rules)
            rules = overlaid(rules, laid) if rules is not None else None
        except ConfigError as error:
            problems, overlay = [*problems, *error.problems], None
    if signals is None or rules is None:
        raise ConfigError(problems)
    build = partial(
        build_plan,
        signals,
        rules,
        identity_key=identity_key,
        pump_register_complete=pump_register_complete,
        convert_suspects=convert_suspects,
    )
    try:
        plan = build(
            code_map=code_map,
            models=names_of(models) if models is not None else None,
            features=columns_of(build_catalogue(signals, "signals.yaml")) if models is not None else (),
            learner=GuardedLearner(PersonalBaseline()) if models is not None else None,
        )
    except ConfigError as error:
        told = [*error.problems]
        if code_map:  # a code of the site that is wrong hides no rule that is
            try:
                build()
            except ConfigError as also:
                told += also.problems
        raise ConfigError(dict.fromkeys([*problems, *_under(overlay), *told])) from error
    if problems:
        raise ConfigError(problems)
    return plan


def _overlay(path: Path, rules: Mapping[str, Any] | None) -> Overlay:
    """``rules`` None = they cannot be read: what the overlay says of them is not looked at."""
    return read_overlay(read_yaml(path), str(path), rules)


def _under(overlay: Path | None) -> Iterator[str]:
    if overlay is not None:
        yield f"{overlay}: the mistakes of rule files named here are those of the files with this overlay"
