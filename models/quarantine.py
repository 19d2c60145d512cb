"""A model that raises, answers NaN or takes too long is kept out; the rules go on without it (DESIGN.md 5.7).

While it is out its answer on a row is indeterminate (``quarantined``). When it went out is not a function of the events,
so it is kept as one: an :class:`Outage` in event time, and whoever runs the events again (:class:`Scheduled`) leaves the
model out of the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple, Protocol

from detector.clock import NEVER
from detector.scoring import FeatureRow, Learned, Learner, Readings, Score, Scores

QUARANTINED = "quarantined"
RAISED, NOT_FINITE, TOO_SLOW = "raised", "not_finite", "too_slow"
REASONS = (RAISED, NOT_FINITE, TOO_SLOW)
OUT = Score(None, QUARANTINED)


class Model(Protocol):
    """One model of a deployment: pure, an answer a row."""

    def score(self, rows: Sequence[FeatureRow]) -> Sequence[Score]: ...


class Outage(NamedTuple):
    """A model is left out of rows with ``after < at <= until`` (ms UTC); ``until`` NEVER = it is out still."""

    model: str
    after: int
    until: int = NEVER
    reason: str = RAISED


class Scheduled:
    """The scorer of some models, each left out of the rows of its outages; it is not even called for them."""

    def __init__(self, models: Mapping[str, Model], outages: Sequence[Outage] = ()) -> None:
        self._models = models
        self._outages = {name: [one for one in outages if one.model == name] for name in models}

    def score(self, rows: Sequence[FeatureRow]) -> list[Scores]:
        answers: list[dict[str, Score]] = [{} for _ in rows]
        for name, model in self._models.items():
            out = [any(one.after < row.at <= one.until for one in self._outages[name]) for row in rows]
            asked = [row for row, left_out in zip(rows, out, strict=True) if not left_out]
            given = iter(model.score(asked) if asked else ())
            for answer, left_out in zip(answers, out, strict=True):
                answer[name] = OUT if left_out else next(given)
        return list(answers)


class GuardedModel:
    """Runs a model and keeps it out once it fails. ``told`` hears the reason, one of ``REASONS``.

    A slow batch is used (it is right, only late) and then the model is kept out: the next batch must not wait for it.
    """

    def __init__(
        self, model: Model, *, most_s: float = float("inf"), told: Callable[[str], object] = len,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self._model, self._most_s, self._told, self._clock = model, most_s, told, clock
        self.why: str | None = None

    def keep_out(self, why: str) -> None:
        """From here on it is not asked any more."""
        self.why = why
        self._told(why)

    def score(self, rows: Sequence[FeatureRow]) -> list[Score]:
        """The model's answers, or ``OUT`` for every row."""
        if self.why is None:
            started = self._clock()
            try:
                answers = list(self._model.score(rows))
                fits = len(answers) == len(rows) and all(one.value is None or isfinite(one.value) for one in answers)
            except Exception:  # noqa: BLE001 - whatever a model does, the rules go on
                self.keep_out(RAISED)
            else:
                if fits:
                    if self._clock() - started > self._most_s:
                        self.keep_out(TOO_SLOW)
                    return answers
                self.keep_out(NOT_FINITE)
        return [OUT] * len(rows)


class GuardedLearner:
    """Runs a learner; where it fails, it learns nothing of that hour, or knows nothing of that patient.

    What it answers is a function of one patient's readings, so it fails again when they are run again, and nobody else's
    answer is worth less for it: it is told of (``why``), and not kept out.
    """

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.why: str | None = None

    @property
    def signals(self) -> tuple[str, ...]:
        return self._learner.signals

    def learn(self, learned: Learned, hours: float, readings: Readings) -> Learned:
        try:
            after = self._learner.learn(learned, hours, readings)
            finite = all(isfinite(number) for numbers in after.values() for number in numbers)
        except Exception:  # noqa: BLE001 - whatever a model does, the rules go on
            self.why = RAISED
            return learned
        if finite:
            return after
        self.why = NOT_FINITE
        return learned

    def read(self, learned: Learned, recent: Readings) -> Mapping[str, float]:
        try:
            found = self._learner.read(learned, recent)
            if all(isfinite(value) for value in found.values()):
                return found
        except Exception:  # noqa: BLE001 - as above
            self.why = RAISED
            return {}
        self.why = NOT_FINITE
        return {}
