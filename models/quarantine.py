"""A model that raises, answers NaN or takes too long is kept out; the rules go on without it (DESIGN.md 5.7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import isfinite

from detector.scoring import FeatureRow, Score, Scorer, Scores

QUARANTINED = "quarantined"


class Guarded:
    """Runs a scorer and keeps it out once it fails. ``told`` hears the reason once: raised, not_finite, too_slow.

    A slow batch is used (it is right, only late) and then the model is kept out: the next batch must not wait for it.
    What is kept out stays out until the process starts again.
    """

    def __init__(
        self, scorer: Scorer, names: Sequence[str], *, most_s: float, told: Callable[[str], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self._scorer, self._names, self._most_s, self._told, self._clock = scorer, tuple(names), most_s, told, clock
        self.why: str | None = None

    def score(self, rows: Sequence[FeatureRow]) -> Sequence[Scores]:
        """The scorer's answers, or indeterminate ones for every name."""
        if self.why is None:
            started = self._clock()
            try:
                answers = self._scorer.score(rows)
                fits = len(answers) == len(rows)
            except Exception:  # noqa: BLE001 - whatever a model does, the rules go on
                self._keep_out("raised")
            else:
                values = [score.value for scores in answers for score in scores.values()]
                if not fits or any(value is not None and not isfinite(value) for value in values):
                    self._keep_out("not_finite")
                else:
                    if self._clock() - started > self._most_s:
                        self._keep_out("too_slow")
                    return answers
        return [{name: Score(None, QUARANTINED) for name in self._names}] * len(rows)

    def _keep_out(self, why: str) -> None:
        self.why = why
        self._told(why)
