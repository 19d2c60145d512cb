"""Whatever a model does, the rules go on."""

from __future__ import annotations

import itertools

import pytest

from detector.scoring import FeatureRow, Score
from models.quarantine import Guarded

ROWS = [FeatureRow("p", 0, {}), FeatureRow("q", 0, {})]
OUT = {"withdrawal": Score(None, "quarantined")}


class Model:
    def __init__(self, answer: object) -> None:
        self.answer, self.calls = answer, 0

    def score(self, rows: object) -> list[dict[str, Score]]:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


def guarded(model: Model, told: list[str], seconds: float = 0.0) -> Guarded:
    clock = itertools.count(0, seconds)
    return Guarded(model, ("withdrawal",), most_s=1.0, told=told.append, clock=lambda: next(clock))


GOOD = [{"withdrawal": Score(0.5)}, {"withdrawal": Score(None, "too_sparse")}]


def test_a_good_answer_passes_as_it_is() -> None:
    told: list[str] = []

    assert GOOD == guarded(Model(GOOD), told).score(ROWS)
    assert [] == told


@pytest.mark.parametrize(
    ("answer", "why"),
    [(RuntimeError("no"), "raised"), ([{"withdrawal": Score(float("nan"))}] * 2, "not_finite"),
     ([{"withdrawal": Score(float("inf"))}] * 2, "not_finite"), ([{"withdrawal": Score(0.5)}], "not_finite")],
)  # fmt: skip
def test_a_model_that_fails_is_kept_out_and_told_once(answer: object, why: str) -> None:
    told: list[str] = []
    model = Model(answer)
    kept_out = guarded(model, told)

    assert [OUT, OUT] == kept_out.score(ROWS)
    assert [OUT, OUT] == kept_out.score(ROWS)
    assert [why] == told
    assert 1 == model.calls


def test_a_slow_answer_is_used_and_is_the_last_one() -> None:
    told: list[str] = []
    slow = guarded(Model(GOOD), told, seconds=5.0)

    assert GOOD == slow.score(ROWS)
    assert [OUT, OUT] == slow.score(ROWS)
    assert ["too_slow"] == told
