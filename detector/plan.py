"""All we know, frozen: catalogue, rules, thresholds, identity key. It has a digest, which every record carries."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from detector.catalogue.signals import Catalogue, Named, build_catalogue
from detector.clock import HOUR
from detector.errors import ConfigError
from detector.features import Columns, Feature, columns
from detector.rules.book import RuleBook
from detector.rules.building import build_book
from detector.scoring import Learner

PUBLIC_KEY = b"itbwatch demonstration and replay; not a secret"
"""The identity key of demo and replay: ids must be equal wherever the same data are replayed. A site sets its own."""

LOWER_AFTER = 6 * HOUR
CLEAR_AFTER = 12 * HOUR
REMIND_AFTER = 12 * HOUR
SILENCE = 12 * HOUR
CLOSE_AFTER = 48 * HOUR
QUALITY_FOR = 24 * HOUR
SCORE_EVERY = HOUR
"""Dwell times of the life cycle (DESIGN.md 4.1 and 4.6), all [D]: chosen by design, to be tuned by evaluation."""


class Plan(Struct, frozen=True):
    """What the engine is given. Two plans with one digest decide alike.

    ``models`` maps each model's name to its version, ``features`` are the columns of the rows that are scored (none =
    nothing is scored), ``learner`` keeps numbers of its own for each patient.
    """

    catalogue: Catalogue
    book: RuleBook
    identity_key: bytes
    digest: str
    rules_version: str
    models: dict[str, str] = {}
    features: tuple[Feature, ...] = ()
    columns: Columns = columns(())
    learner: Learner | None = None

    def __repr__(self) -> str:
        """Short, and without the key."""
        return f"Plan(digest {self.digest[:12]}, rules {self.rules_version})"

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(self.book.rules)

    def alert_id(self, patient_id: str, key: str, opened_at: int) -> str:
        """HMAC-SHA256 over (patient, syndrome, opening instant), cut to 128 bits, as 32 hex digits.

        ``key`` is the syndrome; a data-quality alert adds its signal, since a stay may have one for each.
        """
        message = json.dumps([patient_id, key, opened_at], separators=(",", ":")).encode()
        return hmac.new(self.identity_key, message, hashlib.sha256).hexdigest()[:32]


def build_plan(
    signals: Mapping[str, Any],
    rules: Mapping[str, Any],
    *,
    identity_key: bytes = PUBLIC_KEY,
    pump_register_complete: bool = False,
    code_map: Mapping[str, Named] | None = None,
    convert_suspects: frozenset[str] = frozenset(),
    models: Mapping[str, str] | None = None,
    features: tuple[Feature, ...] = (),
    learner: Learner | None = None,
) -> Plan:
    """Build the plan from parsed files: ``signals.yaml`` and the rule files by name.

    Raises:
        ConfigError: with every mistake of every file.
    """
    catalogue = build_catalogue(signals, "signals.yaml", code_map, convert_suspects)
    book = build_book(rules, catalogue, pump_register_complete=pump_register_complete)
    known = json.dumps(
        [signals, dict(sorted(rules.items())), pump_register_complete, sorted((code_map or {}).items()),
            sorted(convert_suspects),
         sorted((models or {}).items()), [feature.name for feature in features]],
        sort_keys=True, default=str, separators=(",", ":"),
    )  # fmt: skip
    if not identity_key:
        raise ConfigError(["identity key: it is empty; expected at least one byte"])
    digest = hashlib.sha256(known.encode()).hexdigest()
    return Plan(
        catalogue, book, identity_key, digest, book.version, dict(models or {}), features, columns(features), learner
    )
