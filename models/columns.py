"""The columns of a row, from ``features.yaml``: what the engine works out and what the personal baseline adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detector.catalogue.signals import Catalogue
from detector.clock import HOUR
from detector.errors import ConfigError, nearest
from detector.events import CONTEXT_KINDS
from detector.features import FROM_BASE, OPERATORS, SAID, Feature
from models.personal import feature_names


def read_columns(written: Mapping[str, Any], catalogue: Catalogue) -> tuple[Feature, ...]:
    """The features named by the parsed ``features.yaml``.

    Raises:
        ConfigError: with every name that is no signal, operator or kind of context.
    """
    problems: list[str] = []
    features: list[Feature] = []
    for signal, operators in (written.get("signals") or {}).items():
        if signal not in catalogue.signals:
            problems.append(f"features.yaml $.signals.{signal}: not a signal{nearest(signal, catalogue.signals)}")
        for operator, windows in operators.items():
            known = (*OPERATORS, *FROM_BASE)
            if operator not in known:
                problems.append(
                    f"features.yaml $.signals.{signal}.{operator}: no such operator{nearest(operator, known)}"
                )
            features += [Feature(signal, operator, round(hours * HOUR)) for hours in windows]
    for kind, hours in (written.get("context") or {}).items():
        if kind not in CONTEXT_KINDS:
            problems.append(f"features.yaml $.context.{kind}: not a kind of context{nearest(kind, CONTEXT_KINDS)}")
        features.append(Feature(kind, SAID, round(hours * HOUR)))
    if problems:
        raise ConfigError(problems)
    return tuple(features)


def column_names(features: tuple[Feature, ...]) -> tuple[str, ...]:
    """Every column of a row in a fixed order."""
    return (*(feature.name for feature in features), *feature_names())
