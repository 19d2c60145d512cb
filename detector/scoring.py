"""The ports a model comes in by; models live outside the core.

A *scorer* is called once per batch with every row. A *learner* keeps a few plain numbers per patient; it is told of
each hour of readings once, in order, and its state is stored with the patient. Both are pure: what they answer depends
on readings and times only, never on a decision, on the clock or on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

Learned = dict[str, list[float]]
"""What a learner remembers of one patient: plain numbers by name, at most 2 kB of them."""

Readings = Mapping[str, Sequence[float]]
"""The usable readings of each vital sign in some span, ordered by (time, value)."""


class FeatureRow(Struct, frozen=True):
    """The features of one patient at one instant. An absent key is a feature that is not known; never NaN."""

    patient_id: str
    at: int
    values: Mapping[str, float]


class Score(Struct, frozen=True):
    """A model's answer. ``value`` None = indeterminate, and ``reason`` says why; a number is rounded to 1e-6.

    ``because`` are the features that moved it most, each with how far (in the model's own unit), strongest first.
    """

    value: float | None
    reason: str | None = None
    because: tuple[tuple[str, float], ...] = ()


Scores = Mapping[str, Score]
"""The answers of all models on one row, by the name that rules use (``withdrawal``, ``joint``, ...)."""


class Scorer(Protocol):
    """Scores many rows at once; answers in the order of the rows, one each.

    A scorer must be pure: equal rows give equal scores, whatever else is in the batch.
    """

    def score(self, rows: Sequence[FeatureRow]) -> Sequence[Scores]: ...


class Learner(Protocol):
    """Learns one patient's own habits, hour by hour. ``signals`` are the vital signs it reads."""

    @property
    def signals(self) -> tuple[str, ...]: ...

    def learn(self, learned: Learned, hours: float, readings: Readings) -> Learned:
        """What is remembered after one more hour of readings; ``hours`` have passed since the hour before it."""
        ...

    def read(self, learned: Learned, recent: Readings) -> Mapping[str, float]:
        """Features of the readings of the last two hours against what is remembered; nothing while it warms up."""
        ...


class NoScorer:
    """No model is configured: every row is indeterminate, and says so."""

    def score(self, rows: Sequence[FeatureRow]) -> Sequence[Scores]:
        return [{}] * len(rows)
