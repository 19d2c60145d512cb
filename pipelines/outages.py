"""When models were kept out, as stored events: a restart keeps them out, and a re-run leaves them out of the same rows.

An outage holds for one partition number, because only there the order of rows is one. It begins with the first rows that
the model did not answer, and ends with the first rows after it was taken back: with another artefact, or because an
operator said so (``itbwatch stream --restore-models``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from detector.clock import NEVER, rfc3339
from detector.errors import InputError
from detector.scoring import FeatureRow, Scores
from models.quarantine import QUARANTINED, GuardedModel, Outage, Scheduled
from pipelines.formats.times import parse_time

BEGINS = b'{"type":"model"'
"""How the line of an outage begins among canonical events (``explain --export`` writes it, ``replay`` reads it)."""


class ModelEvent(Struct, frozen=True):
    """A model went out, or came back, for rows later than ``after`` (ms UTC). ``artefact``: its version then."""

    model: str
    event: Literal["quarantined", "restored"]
    after: int
    reason: str
    artefact: str


class _Line(Struct, tag="model", tag_field="type"):
    model: str
    event: Literal["quarantined", "restored"]
    after: str
    reason: str
    artefact: str


def encode(event: ModelEvent) -> bytes:
    """One line of canonical NDJSON, without its newline."""
    after = rfc3339(event.after)
    return msgspec.json.encode(_Line(event.model, event.event, after, event.reason, event.artefact))


def decode(line: bytes) -> ModelEvent:
    """What ``encode`` wrote.

    Raises:
        InputError: it is no such line.
    """
    try:
        read = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError as error:
        raise InputError("wrong_type", "model: expected what explain --export writes") from error
    return ModelEvent(read.model, read.event, parse_time(read.after), read.reason, read.artefact)


def outages(events: Iterable[ModelEvent]) -> list[Outage]:
    """The outages of one partition number from its events, in their order."""
    done: list[Outage] = []
    begun: dict[str, ModelEvent] = {}
    for event in events:
        before = begun.pop(event.model, None)
        if before is not None:
            done.append(Outage(event.model, before.after, event.after, before.reason))
        if event.event == QUARANTINED:
            begun[event.model] = event
    return [*done, *(Outage(one.model, one.after, NEVER, one.reason) for one in begun.values())]


class Quarantine:
    """The scorer of one partition number: the guarded models of the process, and what is kept of their outages.

    ``begun`` are the outages that are open as they are stored. ``restore`` takes every model back.
    """

    def __init__(
        self, models: Mapping[str, GuardedModel], artefacts: Mapping[str, str], stored: Sequence[ModelEvent] = (), *,
        restore: bool = False,
    ) -> None:  # fmt: skip
        self._models, self._artefacts = models, artefacts
        self._scorer = Scheduled(models)
        self.fresh: list[ModelEvent] = []
        self.begun: dict[str, ModelEvent] = {}
        for event in stored:
            self.begun.pop(event.model, None)
            if event.event == QUARANTINED:
                self.begun[event.model] = event
        self._over = {
            name for name, event in self.begun.items() if restore or event.artefact != artefacts.get(name, "")
        }
        for name, event in self.begun.items():
            if name in models and models[name].why is None and name not in self._over:
                models[name].keep_out(event.reason)

    def score(self, rows: Sequence[FeatureRow]) -> list[Scores]:
        """The answers of the models that are not out; what went out or came back with these rows is in ``fresh``."""
        answers = self._scorer.score(rows)
        if not rows:
            return answers
        after = min(row.at for row in rows) - 1
        for name in sorted(self._over):
            same = self.begun.pop(name).artefact == self._artefacts.get(name, "")
            self._note(name, "restored", after, "taken_back" if same else "new_artefact")
        self._over.clear()
        for name, model in self._models.items():
            if answers[0][name].reason == QUARANTINED and model.why is not None and name not in self.begun:
                self.begun[name] = self._note(name, "quarantined", after, model.why)
        return answers

    def learner_failed(self, name: str, why: str, after: int) -> None:
        """The learner failed on some patient of this partition number (it is told once, and not kept out)."""
        if name not in self.begun:
            self.begun[name] = self._note(name, "quarantined", after, why)

    def _note(self, name: str, what: Literal["quarantined", "restored"], after: int, why: str) -> ModelEvent:
        event = ModelEvent(name, what, after, why, self._artefacts.get(name, ""))
        self.fresh.append(event)
        return event

    def take(self) -> list[ModelEvent]:
        """What went out or came back since the last call."""
        fresh, self.fresh = self.fresh, []
        return fresh
