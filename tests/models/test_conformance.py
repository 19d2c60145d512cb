"""What every model behind the ports must keep, whatever it is: the shipped ones are put through it."""

from __future__ import annotations

import json
import random
from math import isfinite

import pytest

from detector.engine import Ward, run
from detector.scoring import FeatureRow, Score, Scores
from models.bundle import FOLDER, open_models
from models.columns import column_names
from models.personal import KINDS, PersonalBaseline, as_river, feature_names
from pipelines.model_files import columns_of
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate.backgrounds import synthetic_backgrounds
from pipelines.simulate.cohort import build

PLAN = load_plan(Settings())
COLUMNS = column_names(columns_of(PLAN.catalogue))
MODELS = open_models(FOLDER, COLUMNS)
ILL = {
    "temp_last_6h": 40.4, "temp_max_4h": 40.4, "temp_max_12h": 40.4, "temp_max_24h": 40.4, "temp_min_12h": 38.4, "hr_mean_4h": 132.0,
    "hr_max_6h": 148.0, "rr_mean_4h": 28.0, "sbp_mean_4h": 158.0, "ck_last_72h": 8200.0, "ck_fold_change_96h": 9.0,
    "ck_doublings_per_day_72h": 2.4, "mas_last_24h": 3.0, "spasticity_said_24h": 1.0, "personal_temp_rise": 3.1,
    "personal_temp_z": 8.0, "personal_temp_sum": 30.0, "plt_last_48h": 88.0, "creat_last_48h": 2.1,
}  # fmt: skip
WELL = {
    "temp_last_6h": 36.9, "temp_max_4h": 36.9, "temp_max_12h": 37.1, "temp_max_24h": 37.2, "temp_min_12h": 36.5, "hr_mean_4h": 78.0,
    "hr_max_6h": 88.0, "rr_mean_4h": 16.0, "sbp_mean_4h": 122.0, "ck_last_72h": 110.0, "plt_last_48h": 220.0,
    "creat_last_48h": 0.9, "spasticity_said_24h": 0.0,
}  # fmt: skip


def row(values: dict[str, float], name: str = "p") -> FeatureRow:
    return FeatureRow(name, 0, values)


def rows(count: int) -> list[FeatureRow]:
    """Rows of every sparsity: known columns come and go."""
    rng = random.Random(7)
    made = []
    for number in range(count):
        values = {name: value for name, value in (ILL if number % 2 else WELL).items() if rng.random() < 0.7}
        made.append(row(values, f"p{number}"))
    return made


def test_a_score_does_not_depend_on_who_else_is_in_the_batch() -> None:
    many = rows(60)
    together = MODELS.score(many)

    assert together == [MODELS.score([one])[0] for one in many]
    assert list(reversed(together)) == MODELS.score(list(reversed(many)))


def test_the_order_of_the_keys_does_not_matter() -> None:
    backwards = dict(reversed(list(ILL.items())))

    assert MODELS.score([row(ILL)]) == MODELS.score([row(backwards)])


def test_no_answer_is_anything_but_a_finite_number_or_a_reason() -> None:
    for scores in MODELS.score([*rows(200), row({}), row({"temp_last_6h": 36.6})]):
        assert {"withdrawal", "joint"} == set(scores)
        for score in scores.values():
            assert (score.value is None) != (score.reason is None)
            assert score.value is None or isfinite(score.value)
            assert score.value is None or score.value == round(score.value, 6)


def test_too_little_is_said_and_never_a_number() -> None:
    for scores in MODELS.score([row({}), row({"ck_last_72h": 9000.0, "creat_last_48h": 3.0})]):
        assert (None, "too_sparse") == (scores["withdrawal"].value, scores["withdrawal"].reason)
        assert (None, "too_sparse") == (scores["joint"].value, scores["joint"].reason)


def test_what_lies_outside_what_was_fitted_is_said() -> None:
    infant = WELL | {"rr_mean_4h": 140.0}

    assert (None, "outside_fitted_range") == (
        (score := MODELS.score([row(infant)])[0]["withdrawal"]).value, score.reason
    )  # fmt: skip


def test_an_empty_batch_is_an_empty_answer() -> None:
    assert [] == MODELS.score([])


def test_withdrawal_is_told_from_well_and_says_why() -> None:
    ill, well = (MODELS.score([row(values)])[0]["withdrawal"] for values in (ILL, WELL))

    assert ill.value is not None
    assert well.value is not None
    assert ill.value > 0.8
    assert well.value < 0.2
    assert 1 <= len(ill.because) <= 4
    assert {name for name, _ in ill.because} <= set(COLUMNS)
    assert () == well.because


@pytest.mark.parametrize(
    ("name", "steps"),
    [("temp_last_6h", (37.0, 38.0, 39.0, 40.0, 41.5, 43.0)), ("temp_max_12h", (37.5, 38.5, 39.5, 41.0)),
     ("ck_last_72h", (200.0, 900.0, 3000.0, 9000.0, 60_000.0, 400_000.0)),
     ("ck_doublings_per_day_72h", (0.0, 0.5, 1.5, 4.0)), ("mas_last_24h", (0.0, 1.0, 2.0, 4.0)),
     ("spasticity_said_24h", (0.0, 1.0)), ("personal_temp_rise", (0.0, 1.0, 3.0))],
)  # fmt: skip
@pytest.mark.parametrize("others", [WELL, ILL, {"temp_last_6h": 38.4, "hr_mean_4h": 104.0}])
def test_more_of_what_withdrawal_does_never_lowers_the_score(
    name: str, steps: tuple[float, ...], others: dict[str, float]
) -> None:
    scores = [scored["withdrawal"].value for scored in MODELS.score([row(others | {name: value}) for value in steps])]

    assert None not in scores
    assert sorted(scores) == scores  # type: ignore[type-var]


@pytest.mark.parametrize("name", ["surgery_said_168h", "positive_culture_said_96h", "fall_said_72h"])
def test_what_explains_the_picture_never_raises_the_score(name: str) -> None:
    without, with_it = (MODELS.score([row(ILL | {name: told})])[0]["withdrawal"].value for told in (0.0, 1.0))

    assert without is not None
    assert with_it is not None
    assert with_it <= without


class Told:
    """A scorer whose joint anomaly is always the same, and whose withdrawal score is the shipped one."""

    def __init__(self, joint: Score) -> None:
        self.joint = joint

    def score(self, rows: list[FeatureRow]) -> list[Scores]:
        return [{"withdrawal": one, "joint": self.joint} for one in MODELS.withdrawal.score(rows)]


def test_the_joint_anomaly_changes_no_record_of_the_shipped_rules() -> None:
    cohort = build(synthetic_backgrounds(6, 3), 1, seed=3, cases=[("withdrawal", "moderate")], twins=False)
    told = []
    for answer in (Score(None, "too_sparse"), Score(8.0), Score(-3.0)):
        records = [
            record for _, events in cohort.dataset().by_patient()
            for record in run(PLAN, Ward(PLAN), events, Told(answer)).records
        ]  # fmt: skip
        assert records
        told.append(records)

    assert told[0] == told[1] == told[2]


# --- the learner ------------------------------------------------------------------------------------------------------

LEARNER = PersonalBaseline()


def learned(hours: int, temp: float = 37.0) -> dict[str, list[float]]:
    state: dict[str, list[float]] = {}
    for hour in range(hours):
        state = LEARNER.learn(state, 1.0, {"temp": [temp], "hr": [80.0 + hour % 3, 84.0], "sbp": [120.0, 126.0]})
    return state


def test_a_habit_says_nothing_while_it_warms_up() -> None:
    assert {} == LEARNER.read(learned(4), {"temp": [39.0]})
    assert {} == LEARNER.read({}, {"temp": [39.0]})
    assert 2.0 == pytest.approx(LEARNER.read(learned(12), {"temp": [39.0]})["personal_temp_rise"])


def test_what_is_learned_is_plain_numbers_of_less_than_2_kb_however_long_it_goes_on() -> None:
    state = learned(2000)

    assert state == json.loads(json.dumps(state))
    assert len(json.dumps(state)) < 2048
    assert len(state) <= 2 * len(KINDS)
    assert state == {name: habit.state for name, habit in as_river(state).items()}


def test_one_artefact_moves_a_habit_by_little_and_a_lasting_shift_is_noticed() -> None:
    spoiled = LEARNER.learn(learned(24), 1.0, {"temp": [42.0]})
    assert abs(LEARNER.read(spoiled, {"temp": [37.0]})["personal_temp_rise"]) < 0.2

    state = learned(24)
    before = LEARNER.read(state, {"temp": [37.5]})["personal_temp_sum"]
    for _ in range(6):
        state = LEARNER.learn(state, 1.0, {"temp": [37.6]})
    assert LEARNER.read(state, {"temp": [37.6]})["personal_temp_sum"] > before + 3


def test_a_signal_that_stops_and_comes_back_is_forgotten_by_halves() -> None:
    state = LEARNER.learn(learned(24), 720.0, {"temp": [38.2]})  # a month later
    for _ in range(3):
        state = LEARNER.learn(state, 1.0, {"temp": [38.2]})

    assert LEARNER.read(state, {"temp": [38.2]})["personal_temp_rise"] < 0.5


def test_what_it_can_say_is_what_is_fitted_on() -> None:
    said = LEARNER.read(learned(24), {"temp": [38.0], "hr": [90.0, 95.0], "sbp": [110.0, 150.0], "rr": [20.0]})

    assert set(said) <= set(feature_names()) <= set(COLUMNS)
