"""The port a model comes in by. The engine calls it once per batch with every row; models live outside the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class FeatureRow(Struct, frozen=True):
    """The features of one patient at one instant. An absent key is a feature that is not known; never NaN."""

    patient_id: str
    at: int
    values: Mapping[str, float]


class Score(Struct, frozen=True):
    """A model's answer. ``value`` None = indeterminate, and ``reason`` says why; a number is rounded to 1e-6."""

    value: float | None
    reason: str | None = None


class Scorer(Protocol):
    """Scores many rows at once; answers in the order of the rows, one each.

    ``names`` maps model name -> version (it is written into every record's provenance). A scorer must be pure:
    equal rows give equal scores, whatever else is in the batch.
    """

    @property
    def names(self) -> Mapping[str, str]: ...

    def score(self, rows: Sequence[FeatureRow]) -> Sequence[Score]: ...


class NoScorer:
    """No model is configured: every row is indeterminate, and says so."""

    names: Mapping[str, str] = {}

    def score(self, rows: Sequence[FeatureRow]) -> Sequence[Score]:
        return [Score(None, "no model configured")] * len(rows)
