"""Whatever a model does, the rules go on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from detector.scoring import FeatureRow, Score
from models.personal import PersonalBaseline
from models.quarantine import OUT, GuardedLearner, GuardedModel, Outage, Scheduled

ROWS = [FeatureRow("p", 0, {}), FeatureRow("q", 0, {})]


class Model:
    """Answers what it was given, or the hour of each row, and keeps what it was asked."""

    def __init__(self, answer: object = None) -> None:
        self.answer, self.asked = answer, list[Sequence[FeatureRow]]()

    def score(self, rows: Sequence[FeatureRow]) -> list[Score]:
        self.asked.append(rows)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [Score(row.at / 10) for row in rows] if self.answer is None else self.answer  # type: ignore[return-value]


def guarded(model: Model, told: list[str], seconds: float = 0.0) -> GuardedModel:
    clock = itertools.count(0, seconds)
    return GuardedModel(model, most_s=1.0, told=told.append, clock=lambda: next(clock))


GOOD = [Score(0.5), Score(None, "too_sparse")]


def test_a_good_answer_passes_as_it_is() -> None:
    told: list[str] = []

    assert GOOD == guarded(Model(GOOD), told).score(ROWS)
    assert [] == told


@pytest.mark.parametrize(
    ("answer", "why"),
    [(RuntimeError("no"), "raised"), ([Score(float("nan"))] * 2, "not_finite"), ([Score(float("inf"))] * 2, "not_finite"),
     ([Score(0.5)], "not_finite"), ([0.5, 0.5], "raised"), (5, "raised")],
)  # fmt: skip
def test_a_model_that_fails_is_kept_out_and_told_once(answer: object, why: str) -> None:
    told: list[str] = []
    model = Model(answer)
    kept_out = guarded(model, told)

    assert [OUT, OUT] == kept_out.score(ROWS)
    assert [OUT, OUT] == kept_out.score(ROWS)
    assert [why] == told
    assert 1 == len(model.asked)


def test_a_slow_answer_is_used_and_is_the_last_one() -> None:
    told: list[str] = []
    slow = guarded(Model(GOOD), told, seconds=5.0)

    assert GOOD == slow.score(ROWS)
    assert [OUT, OUT] == slow.score(ROWS)
    assert ["too_slow"] == told


def test_one_model_that_fails_leaves_the_others_in() -> None:
    bad, good = Model(RuntimeError()), Model()
    scorer = Scheduled({"bad": GuardedModel(bad), "good": GuardedModel(good)})

    assert [{"bad": OUT, "good": Score(0.0)}] * 2 == scorer.score(ROWS)


def test_a_model_is_left_out_of_the_rows_of_its_outage_however_they_are_batched() -> None:
    rows = [FeatureRow("p", at, {}) for at in range(8)]
    outages = [Outage("one", after=1, until=4), Outage("one", after=6), Outage("other", after=0)]
    model = Model()
    scorer = Scheduled({"one": model}, outages)
    whole = scorer.score(rows)

    assert [answer["one"] == OUT for answer in whole] == [False, False, True, True, True, False, False, True]
    assert whole == [answer for row in rows for answer in Scheduled({"one": Model()}, outages).score([row])]
    assert [[row.at for row in asked] for asked in model.asked] == [[0, 1, 5, 6]]


class Broken(PersonalBaseline):
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def learn(self, learned, hours, readings):  # type: ignore[no-untyped-def]
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"temp": [self.answer]}

    def read(self, learned, recent):  # type: ignore[no-untyped-def]
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"personal_temp_z": self.answer}


@pytest.mark.parametrize(("answer", "why"), [(RuntimeError(), "raised"), (float("nan"), "not_finite")])
def test_a_learner_that_fails_learns_nothing_knows_nothing_and_is_told_of(answer: object, why: str) -> None:
    learner = GuardedLearner(Broken(answer))
    before = {"temp": [1.0]}

    assert before == learner.learn(before, 1.0, {"temp": [37.0]})
    assert {} == learner.read(before, {"temp": [37.0]})
    assert learner.why == why


def test_a_learner_that_works_is_as_it_was() -> None:
    plain, learner = PersonalBaseline(), GuardedLearner(PersonalBaseline())

    assert plain.learn({}, 1.0, {"temp": [37.0]}) == learner.learn({}, 1.0, {"temp": [37.0]})
    assert plain.signals == learner.signals
    assert learner.why is None
