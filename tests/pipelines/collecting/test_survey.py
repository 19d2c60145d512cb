"""What a replay of a data set would find is said before it runs; on the open samples nothing of ours is passed over."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.collecting.item_maps import item_map
from pipelines.collecting.survey import TAKEN, Survey, lines, survey
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from tests.pipelines.terminal import on_a_terminal

MISSION = ("temp", "ck", "plt", "creat", "ast", "alt")
NAMED_LIKE_THEM = re.compile(
    r"(?i)\btemp|\bck\b|cpk|creatine kinase|platelet|\bplt|creatinine|\bast\b|aspart|asparate|sgot|\balt\b|alanine|sgpt"
)
ANOTHER_THING = {
    "where it was measured": r"temp(\.|erature) site",
    "a word such as Warm": r"\b(l|r)(u|l)e \[?temp|skin",
    "a pacemaker": r"temporary",
    "a share of another test": r"ck-mb (index|fraction)",
    "another fluid, or a ratio in it": r"urine|ascites|pleural|fluid|ratio|clearance|24 hr",
    "a look through the microscope": r"platelet(s$| smear| clumps| adequacy)",
    "the sample of a coagulation test": r"platelet poor plasma",
    "a score of the first day": r"apache",
}
SAMPLES = {
    "mimic-iii": "mimic-iii-demo-1.4",
    "mimic-iv": "mimic-iv-demo-2.2-sample",
    "eicu": "eicu-crd-demo-2.0.1-part",
    "meds": "mimic-iv-demo-meds-0.0.1-sample",
}


@pytest.fixture(scope="module")
def counted(shared: Path) -> Callable[[str], Survey]:
    known: dict[str, Survey] = {}
    settings = Settings()
    catalogue = load_plan(settings).catalogue

    def of(name: str) -> Survey:
        if name not in known:
            known[name] = survey(name, [shared / "data" / "raw" / SAMPLES[name]], settings, catalogue)
        return known[name]

    return of


@pytest.mark.parametrize("name", SAMPLES)
def test_of_the_six_signals_99_of_100_rows_are_read_and_what_is_left_is_another_thing(
    counted: Callable[[str], Survey], name: str
) -> None:
    found, items = counted(name), item_map(name.replace("-", "_"))
    said = {(table, one.item) for table, left_out in items.left_out.items() for one in left_out}
    passed_over = {
        (table, label): rows
        for table, item, label, rows in found.unread(items)
        if NAMED_LIKE_THEM.search(label)
        and (table, item) not in said
        and not any(re.search(pattern, label.lower()) for pattern in ANOTHER_THING.values())
    }
    read = sum(
        found.items[table][one.item]
        for table, mapped in items.observations.items()
        for one in mapped
        if one.code in MISSION
    )

    assert read > 500
    assert read / (read + sum(passed_over.values())) >= 0.99, passed_over


@pytest.mark.parametrize("name", SAMPLES)
def test_of_the_six_signals_99_of_100_rows_that_are_read_become_readings(
    counted: Callable[[str], Survey], name: str
) -> None:
    results = counted(name).results

    for signal in MISSION:
        rows = sum(count for (one, _), count in results.items() if one == signal)
        assert results[signal, TAKEN] >= 0.99 * rows, {key: n for key, n in results.items() if key[0] == signal}
    assert not counted(name).units


def test_the_report_says_what_is_there_what_is_missing_and_what_is_not_read(counted: Callable[[str], Survey]) -> None:
    text = "\n".join(lines(counted("mimic-iv"), "mimic-iv"))

    assert "stays: 29 of 20 patients" in text
    assert "pumps: 0 patients with one in the data; say who has one with --pumps" in text
    assert "table chartevents is not there" in text
    assert re.search(r"creat +241 +100\.00%", text)
    assert re.search(r"564  labevents 50983 Sodium", text)
    assert re.search(r"observations: outside_stay", text)


def test_a_survey_counts_what_a_replay_would_read(counted: Callable[[str], Survey], shared: Path) -> None:
    from pipelines.datasets import open_dataset

    dataset = open_dataset("meds", [shared / "data" / "raw" / SAMPLES["meds"]], stays=None, pumps=None, context=None)
    totals = dataset.observations.filter(dataset.observations["code"] == "gcs").height

    assert dataset.rejected == counted("meds").rejected
    assert len(dataset.observations) - totals == counted("meds").results.total()


def check(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines", "check", *words], capture_output=True, text=True, timeout=120, check=False
    )


def test_unknown_units_and_suspicious_values_are_told_and_a_set_of_which_nothing_can_be_read_is_refused(
    tmp_path: Path,
) -> None:
    head = "person_id,measurement_concept_id,measurement_datetime,value_as_number,unit_source_value\n"
    good = "1,3016723,2150-03-01 09:00:00,2.1,mg/dL\n1,3016723,2150-03-01 10:00:00,180,mg/dL\n"
    bad = "1,3016723,2150-03-01 09:00:00,2.1,furlong\n"
    (tmp_path / "measurement.csv").write_text(head + good + bad)

    done = check("--format", "omop", str(tmp_path))

    assert (0, "") == (done.returncode, done.stderr)
    assert re.search(r"creat +3 +33\.33%  .*unknown_unit 1", done.stdout)
    assert "creat 'furlong'" in done.stdout
    assert "suspect_unit 1" in done.stdout

    (tmp_path / "measurement.csv").write_text(head + bad)
    done = check("--format", "omop", str(tmp_path))
    assert 65 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert "not one result can be read as --format omop" in done.stderr


def test_format_and_path_belong_together(tmp_path: Path) -> None:
    done = check("--format", "omop")

    assert 2 == done.returncode
    assert "--format NAME and PATH belong together" in done.stderr


def test_a_terminal_sees_which_table_is_read_and_how_far(shared: Path) -> None:
    code, seen = on_a_terminal("check", "--format", "mimic-iii", shared / "data" / "raw" / "mimic-iii-demo-1.4")

    assert 0 == code
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    rows = [int(number.replace(",", "")) for number in re.findall(r"reading chartevents +([0-9,]+) rows", plain)]
    assert rows == sorted(rows)
    assert 2 < len(set(rows))
