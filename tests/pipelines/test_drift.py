"""The readings of a ward against those of a reference: a change in everybody is told, one strange patient is not."""

import json
import random
from itertools import pairwise
from math import isnan
from pathlib import Path

import pytest

from detector.clock import DAY, HOUR
from detector.engine import Ward, run
from detector.errors import ConfigError
from detector.events import Encounter, Observation, Ticked
from pipelines import drift
from pipelines.drift import Reference, look, make_reference, read_reference, stability_index, write_reference
from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.web.board import Board
from tests.pipelines.in_process import append, drain, file_settings, serving

START = 1_900_022_400_000
SETTINGS = Settings.model_validate({"models": {"enabled": False}})
PLAN = load_plan(SETTINGS)
CATALOGUE = PLAN.catalogue


def temperatures(patients: int, hours: int, seed: int, change=lambda _patient, _hour, value: value):
    """An hourly temperature each, around a level of the patient's own; ``change`` None = not measured."""
    rng = random.Random(seed)
    level = [37.0 + rng.gauss(0, 0.4) for _ in range(patients)]
    ids = [{"patient_id": f"p{n:03}", "stay_id": f"s{n:03}"} for n in range(patients)]
    made = [Encounter(**one, event="admitted", at=START, available_at=START) for one in ids]
    for hour in range(hours):
        for n, one in enumerate(ids):
            value = change(n, hour, round(level[n] + rng.gauss(0, 0.2), 2))
            at = START + hour * HOUR + n * 1_000
            if value is not None:
                made.append(
                    Observation(**one, code="temp", value=round(value, 2), unit="Cel", effective_at=at, available_at=at)
                )
    return made


REFERENCE = make_reference(temperatures(200, 72, 1), CATALOGUE, ["past.parquet"])


def looked(events, hours: int, fewest: int = 20):
    ward = Ward(PLAN)
    now = START + hours * HOUR
    run(PLAN, ward, [*(event for event in events if event.available_at <= now), Ticked(now)])
    return look([ward], REFERENCE, CATALOGUE, now, fewest)


def test_the_index_is_that_of_the_literature() -> None:
    # two classes, 50/50 against 30/70: 0.2 ln(0.5/0.3) + (-0.2) ln(0.5/0.7), by hand; many patients, so that what is
    # added for empty classes does not show
    assert stability_index([0.5, 0.5], 10**9, [0.3, 0.7], 10**9) == pytest.approx(0.169460, abs=1e-6)
    assert stability_index([0.2, 0.8], 50, [0.2, 0.8], 50) == 0.0


def test_a_reference_has_fifths_and_reads_back_equal(tmp_path: Path) -> None:
    write_reference(tmp_path / "drift.json", REFERENCE)
    temp = REFERENCE.signals["temp"]

    assert read_reference(tmp_path / "drift.json", CATALOGUE) == REFERENCE
    assert list(REFERENCE.signals) == ["temp"]
    assert temp.shares == pytest.approx((0.2, 0.2, 0.2, 0.2, 0.2, 0.0), abs=0.02)
    assert 36.8 < temp.median < 37.2


def test_the_same_kind_of_ward_is_not_above_its_limit() -> None:
    for seed in range(2, 8):
        found = looked(temperatures(30, 30, seed), 30)["temp"]

        assert found.psi < found.limit


@pytest.mark.parametrize(
    "change",
    [lambda _n, _h, value: value + 1.5, lambda _n, _h, value: 37 + 6 * (value - 37), lambda n, _h, value: value if n % 4 == 0 else None],
    ids=["shifted", "wider", "missing"],
)  # fmt: skip
def test_a_shift_a_wider_spread_and_a_silent_feed_are_above_it(change) -> None:
    found = looked(temperatures(60, 30, 3, change), 30)["temp"]

    assert found.psi > found.limit


def test_one_patient_alone_cannot_move_a_ward_and_few_say_nothing() -> None:
    one_off = temperatures(20, 30, 4, lambda n, _h, value: 41.9 if n == 0 else value)
    found = looked(one_off, 30)["temp"]

    assert found.psi < found.limit
    assert looked(one_off, 30, fewest=21) == {}
    assert looked(temperatures(30, 30, 4), 20) == {}, "nobody is there for a day"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "expected what `replay --drift-reference` writes"),
        ('{"form": 2, "made_of": [], "signals": {}}', "$.form: 2; expected 1"),
        ('{"form": 1, "made_of": [], "signals": {"tmp": {"edges": [1], "shares": [1], "stays": 1, "median": 1}}}', "$.signals.tmp"),
    ],
)  # fmt: skip
def test_a_wrong_reference_is_refused_with_its_mistakes(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "drift.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="drift") as refused:
        read_reference(path, CATALOGUE)

    assert line in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_reference(tmp_path / "none.json", CATALOGUE)


def feed(folder: Path, happened, reference: Reference | None = REFERENCE):
    """One run of the service over these events; what it shows at its end."""
    settings = file_settings(folder, records=25, models={"enabled": False})
    append(settings, *happened)
    metrics, board = Metrics(PLAN, settings), Board(b"0" * 16)
    with serving(settings, PLAN, metrics=metrics, board=board, reference=reference) as made:
        drain(made)
    return metrics.registry.get_sample_value("itbwatch_input_drift", {"signal": "temp"}), board


def technical(folder: Path):
    records = [json.loads(line) for line in (folder / "alerts.ndjson").read_text().splitlines()]
    return [one for one in records if one["syndrome"] == "technical"]


def test_a_day_of_it_is_an_alert_that_a_restart_neither_delays_nor_repeats(tmp_path: Path) -> None:
    course = temperatures(30, 100, 5, lambda _n, hour, value: value + (1.5 if 26 <= hour < 66 else 0.0))
    cuts = [0, 40, 70, 101]
    for begin, end in pairwise(cuts):
        part = [one for one in course if START + begin * HOUR <= one.available_at < START + end * HOUR]
        index, board = feed(tmp_path, part)
        if end == 70:
            assert index > drift.CHANGED
            assert [
                record.headline.split(":")[0] for _, record in board.alerts() if record.syndrome == "technical"
            ] == ["temp"]
    (tmp_path / "whole").mkdir()
    feed(tmp_path / "whole", course)
    told = technical(tmp_path)

    assert [(one["state"], one["reason"]) for one in told] == [
        ("opened", "unlike_reference"), ("resolved", "like_reference")]  # fmt: skip
    hours = [(int(one["at"][8:10]) * 24 + int(one["at"][11:13])) for one in told]
    first = next(
        hour for hour in range(26, 50) if looked(course, hour)["temp"].psi > looked(course, hour)["temp"].limit
    )
    assert hours[0] - _hour_of(START) == pytest.approx(first + DAY // HOUR, abs=1)
    assert [one["at"] for one in technical(tmp_path / "whole")] == [one["at"] for one in told]
    assert told[0]["evidence"][0]["signal"] == "temp"
    assert "median" in told[0]["headline"]


def _hour_of(at: int) -> int:
    from detector.clock import rfc3339

    text = rfc3339(at)
    return int(text[8:10]) * 24 + int(text[11:13])


def test_without_a_reference_nothing_is_watched(tmp_path: Path) -> None:
    index, _ = feed(tmp_path, temperatures(25, 30, 6), None)

    assert isnan(index)
