"""Published cases as golden runs: every row of clinical-evidence.md 5.3 that has a number or a fact to test.

A file is one case. ``reported`` are the numbers of its source and ``unread`` those for which there is no signal; the two
together equal ``events`` of the shared cases.json. ``told`` are facts of the source without a number, each with the
event that stands for its flag. Only what a run adds under ``synthetic`` is invented, and it says why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from detector.catalogue.strict import Problems, typed
from detector.clock import HOUR, rfc3339
from detector.courses import ZERO, Bed, PatientWritten, instant, read_course
from detector.examples import differences, read_expected
from detector.records import SEVERITIES, AlertRecord
from pipelines.model_files import open_scorer
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.yaml_files import read_yaml

FOLDER = Path(__file__).parent
PLAN = load_plan(Settings())
SCORER = open_scorer(Settings(), PLAN)

NO_NUMBERS = ("W10", "W12", "W13", "W14", "W15", "W16", "W17", "W18")
"""Cases that 5.3 calls not testable: qualitative only."""


class Told(Struct, frozen=True):
    flag: str
    event: str


class Synthetic(Struct, frozen=True):
    event: str
    why: str


class Alert(Struct, frozen=True):
    """What the newest record of a syndrome at an instant must list."""

    at: str
    syndrome: str
    evidence: tuple[str, ...]
    missing: tuple[str, ...]


class Run(Struct, frozen=True):
    """``highest`` names every syndrome that may have a record, with the highest severity of its records; ``resolves``
    is when all of them end (None = they are open at the end, or the case has no number for 48 h).
    """

    name: str
    expect: dict[str, str]
    highest: dict[str, str]
    resolves: str | None = None
    pump: str | None = None
    numbers_only: bool = False
    without: tuple[str, ...] = ()
    synthetic: tuple[dict[str, str], ...] = ()
    alert: dict[str, Any] | None = None


class Scenario(Struct, frozen=True):
    case: str
    source: str
    zero: str
    row: str
    patient: dict[str, Any]
    reported: tuple[str, ...]
    unread: tuple[str, ...]
    told: tuple[dict[str, str], ...]
    runs: tuple[dict[str, Any], ...]
    address: str | None = None
    notes: str | None = None


def read_scenario(path: Path) -> tuple[Scenario, tuple[Told, ...], tuple[Run, ...]]:
    problems = Problems(path.name)
    scenario = typed(Scenario, read_yaml(path), "$", problems)
    assert scenario is not None, problems.lines
    told = [typed(Told, one, f"$.told[{i}]", problems) for i, one in enumerate(scenario.told)]
    runs = [typed(Run, one, f"$.runs[{i}]", problems) for i, one in enumerate(scenario.runs)]
    assert problems.lines == []
    return scenario, tuple(one for one in told if one), tuple(one for one in runs if one)


SCENARIOS = {path.stem: read_scenario(path) for path in sorted(FOLDER.glob("*.yaml"))}
RUNS = [(case, run) for case, (_, _, runs) in SCENARIOS.items() for run in runs]


def course(case: str, run: Run) -> tuple[Bed, int]:
    """The bed of a run, and the instant at which the run ends."""
    scenario, told, _ = SCENARIOS[case]
    problems = Problems(f"{case}.yaml")
    lines = list(scenario.reported)
    if not run.numbers_only:
        lines += [one.event for one in told]
    for line in run.without:
        assert line in lines, f"{case} {run.name}: {line!r} is not there to be left out"
        lines.remove(line)
    synthetic = [typed(Synthetic, one, "$.synthetic", problems) for one in run.synthetic]
    lines += [one.event for one in synthetic if one is not None]
    patient = scenario.patient | ({"pump": run.pump} if run.pump is not None else {})
    events = read_course(PLAN.catalogue, patient, [(f"$ {line!r}", line) for line in lines], "$.patient", problems)
    assert problems.lines == []
    return Bed(PLAN, events, scorer=SCORER), max((event.available_at for event in events), default=ZERO)


@pytest.mark.parametrize(("case", "run"), RUNS, ids=[f"{case} {run.name}" for case, run in RUNS])
def test_published_case(case: str, run: Run) -> None:
    bed, last = course(case, run)
    problems = Problems(f"{case}.yaml")
    asked = read_expected(PLAN, run.expect, "$.expect", problems, None)
    found = []
    for at, text, wanted in asked:
        bed.until(at)
        found += [f"at {text}: {line}" for line in differences(bed, wanted)]
    bed.until(max(last, asked[-1][0]))

    assert problems.lines == []
    assert found == []
    assert run.highest == highest(bed.records)
    ended = {record.at for record in bed.records if record.state == "resolved" and record.reason != "silent_for_48h"}
    assert ended == ({rfc3339(instant(run.resolves))} if run.resolves is not None else set())


def highest(records: list[AlertRecord]) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in records:
        best = max(found.get(record.syndrome, "info"), record.severity, key=lambda word: SEVERITIES[word])
        found[record.syndrome] = best
    return found


ALERTS = [(case, run) for case, run in RUNS if run.alert is not None]


@pytest.mark.parametrize(("case", "run"), ALERTS, ids=[f"{case} {run.name}" for case, run in ALERTS])
def test_the_alert_lists_its_evidence_and_what_is_missing(case: str, run: Run) -> None:
    alert = typed(Alert, run.alert, "$.alert", Problems(case))
    assert alert is not None
    bed, _ = course(case, run)
    bed.until(instant(alert.at))
    record = [record for record in bed.records if record.syndrome == alert.syndrome][-1]

    assert set(alert.evidence) <= {line.signal for line in record.evidence}
    assert set(alert.missing) <= {line.split(":")[0] for line in record.missing}
    assert not set(alert.evidence) & {line.split(":")[0] for line in record.missing}
    assert "diagnosis" not in record.headline.lower()


def test_a_pump_forced_on_the_negatives_fires_on_the_numbers_of_four() -> None:
    fired = {
        case
        for case, run in RUNS
        if case.startswith("N") and run.pump == "implanted" and (run.numbers_only or not SCENARIOS[case][1])
        for word in run.highest.values()
        if SEVERITIES[word] >= SEVERITIES["warning"]
    }

    assert {"N02", "N05", "N18", "N22"} == fired


# --- against the shared file ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cases(shared: Path) -> dict[str, dict[str, Any]]:
    return {case["case_id"].split("_")[0]: case for case in json.loads((shared / "cases.json").read_text())}


@pytest.mark.parametrize("case", SCENARIOS)
def test_the_numbers_of_a_scenario_are_those_of_the_shared_case(case: str, cases: dict[str, dict[str, Any]]) -> None:
    scenario, _, _ = SCENARIOS[case]
    shared_case = cases[case]
    wanted = sorted(
        (round(event["t_h"] * HOUR), event["code"], float(event["value"]), event["unit"])
        for event in shared_case["events"]
    )

    assert scenario.case == shared_case["case_id"]
    assert scenario.source == shared_case["citation"]
    assert wanted == sorted(map(number, (*scenario.reported, *scenario.unread)))


def number(line: str) -> tuple[int, str, float, str]:
    """(ms from zero, code, value, unit) of a line."""
    words = [word for word in line.split() if "=" not in word]
    named = PLAN.catalogue.resolve_code(words[1])
    unit = " ".join(words[3:]) or (PLAN.catalogue.signals[named.signal].unit if named is not None else "")
    return instant(words[0]) - ZERO, words[1], float(words[2]), unit


@pytest.mark.parametrize("case", SCENARIOS)
def test_the_patient_and_the_gate_of_a_scenario_are_as_recorded(case: str, cases: dict[str, dict[str, Any]]) -> None:
    scenario, _, _ = SCENARIOS[case]
    patient = typed(PatientWritten, scenario.patient, "$.patient", Problems(case))
    shared_case = cases[case]

    assert patient is not None
    assert {True: "implanted", False: "absent", None: "unknown"}[shared_case["pump"]] == patient.pump
    assert {"M": "male", "F": "female", None: None}[shared_case["sex"]] == patient.sex
    assert shared_case["age_years"] == patient.age_years


@pytest.mark.parametrize("case", SCENARIOS)
def test_every_fact_told_is_a_flag_of_the_shared_case(case: str, cases: dict[str, dict[str, Any]]) -> None:
    flags = {(flag["flag"], flag["t_h"]) for flag in cases[case]["flags"]}
    for told in SCENARIOS[case][1]:
        hours = (instant(told.event.split()[0]) - ZERO) / HOUR
        assert (told.flag, hours) in flags or (told.flag, None) in flags


@pytest.mark.parametrize("case", SCENARIOS)
def test_a_number_is_unread_only_for_want_of_a_signal(case: str) -> None:
    assert all(PLAN.catalogue.resolve_code(line.split()[1]) is None for line in SCENARIOS[case][0].unread)


def test_every_row_with_something_to_test_has_a_scenario(cases: dict[str, dict[str, Any]]) -> None:
    verified = {case for case, data in cases.items() if data["verified"]}

    assert verified - set(NO_NUMBERS) == set(SCENARIOS)
    assert all(cases[case]["events"] == [] for case in NO_NUMBERS)
    assert all(cases[case]["events"] == [] for case in cases if case.startswith("U"))
