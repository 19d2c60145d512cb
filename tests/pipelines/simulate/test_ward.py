import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from detector.clock import HOUR
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from pipelines.formats.canonical import decode, encode
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import COURSES, DEMO_WARD, PUBLISHED, WARD, Bed, events, random_ward
from pipelines.simulate.feeder import Feeder


def observations(made: list[PatientEvent], code: str | None = None) -> list[Observation]:
    return [one for one in made if isinstance(one, Observation) and code in (None, one.code)]


def test_equal_seeds_give_equal_wards_and_others_do_not() -> None:
    ward = random_ward(6, 2, seed=3)

    assert ward == random_ward(6, 2, seed=3)
    assert events(ward, 0, 48, seed=3) == events(ward, 0, 48, seed=3)
    assert events(ward, 0, 48, seed=3) != events(ward, 0, 48, seed=4)


def test_a_bed_does_not_depend_on_the_others() -> None:
    alone = events([DEMO_WARD[2]], 0, 24, seed=1)

    assert alone == [one for one in events(DEMO_WARD, 0, 24, seed=1) if one.patient_id == DEMO_WARD[2].patient_id]


def test_everything_survives_the_wire_and_is_in_the_one_order() -> None:
    made = events(
        [*DEMO_WARD, *(replace(bed, number=50 + n) for n, bed in enumerate(random_ward(6, 3, seed=1)))], 0, 72, seed=1
    )

    assert made == [decode(encode(one)) for one in made]
    assert [one.available_at for one in made] == sorted(one.available_at for one in made)


def test_every_observation_says_that_it_is_synthetic() -> None:
    assert {"synthetic"} == {one.source for one in observations(events(DEMO_WARD, 0, 72, seed=1))}


def test_every_code_and_unit_is_in_the_catalogue() -> None:
    catalogue = load_plan(Settings()).catalogue
    codes = {(signal["code"], unit) for signal in WARD["signals"].values() for unit in signal["units"]}
    codes |= {(one["code"], one["unit"]) for one in PUBLISHED["observations"]}
    codes |= {(code, "Cel") for course in COURSES.values() for code in course.get("code", {}).values()}

    for code, unit in codes:
        named = catalogue.resolve_code(code)
        assert named is not None, code
        assert catalogue.signals[named.signal].resolve_unit(unit) is not None, (code, unit)


def test_labs_are_filed_later_than_they_are_drawn_by_the_measured_delays() -> None:
    made = observations(events([Bed(n) for n in range(1, 40)], 0, 72, seed=1), WARD["signals"]["creat"]["code"])
    delays = sorted((one.available_at - one.effective_at) / 60_000 for one in made)

    assert WARD["filing"]["chemistry"][4] == pytest.approx(delays[len(delays) // 2], rel=0.15)


def test_artefacts_occur() -> None:
    made = observations(events([Bed(n) for n in range(1, 80)], 0, 72, seed=1))
    temperatures = [one for one in made if one.code == WARD["signals"]["temp"]["code"]]
    identities = Counter((one.patient_id, one.code, one.effective_at, one.value, one.value_text) for one in made)

    assert [one for one in made if one.value_text == "NotDone"]
    assert [one for one in temperatures if one.value is not None and one.value > 90]
    assert [one for one in temperatures if one.value is not None and one.value <= 30]
    assert max(identities.values()) == 2


@pytest.mark.parametrize("course", [name for name in COURSES if name.startswith("withdrawal")])
def test_withdrawal_begins_with_tone_and_follows_its_severity(course: str) -> None:
    made = events([Bed(1, pump=True, course=course, onset_h=6)], 0, 84, seed=2)
    temperatures = [one.value for one in observations(made, "8310-5") if one.value is not None and 30 < one.value < 45]
    highest = {
        "withdrawal_mild": (36.5, 38.2),
        "withdrawal_moderate": (38.5, 40.4),
        "withdrawal_full_blown": (40.0, 42.6),
    }
    low, high = highest[course]

    assert low < max(temperatures) < high
    assert ("spasticity", 6 * HOUR) in {(one.kind, one.at) for one in made if isinstance(one, Context)}
    assert "implanted" in {one.event for one in made if isinstance(one, Pump)}


def test_every_course_names_its_source() -> None:
    assert all(course["source"] for course in COURSES.values())
    assert {"reported", "assumed", "synthetic"} >= {one["basis"] for one in PUBLISHED["observations"]}


def test_the_demo_has_nine_beds_with_three_pumps() -> None:
    made = events(DEMO_WARD, 0, 72, seed=1)

    assert 9 == len({one.patient_id for one in made if isinstance(one, Encounter)})
    assert 3 == len({one.patient_id for one in made if isinstance(one, Pump) and one.event == "implanted"})


def test_the_feeder_plays_everything_in_order_and_ends_when_told(tmp_path: Path) -> None:
    made = events([Bed(1)], 0, 4, seed=1)
    path = tmp_path / "ward.ndjson"
    with Feeder(path, made, speed=72_000) as feeder:
        until = time.monotonic() + 30
        while not feeder.over and time.monotonic() < until:
            time.sleep(0.05)

    assert made == [decode(line) for line in path.read_bytes().splitlines()]
    assert "feeder" not in {thread.name for thread in threading.enumerate()}

    with Feeder(tmp_path / "slow.ndjson", made, speed=1) as feeder:
        pass
    assert not feeder.over
