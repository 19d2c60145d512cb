import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from tests.pipelines.terminal import bars, on_a_terminal


def itbwatch(*words: object, **options: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=options.get("timeout", 120), check=False)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated ward as the command writes it."""
    out = tmp_path_factory.mktemp("simulated") / "ward"
    done = itbwatch("simulate", "--beds", 4, "--days", 2, "--published-case", "--out", out)
    assert (0, "") == (done.returncode, done.stderr)
    return out


@pytest.fixture(scope="module")
def replayed(ward: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("replayed") / "alerts"
    done = itbwatch("replay", ward / "ward.ndjson", "--export", "fhir", "--export", "hl7v2", "--out", out)
    assert (0, "") == (done.returncode, done.stderr)
    assert "per 100 patient-days" in done.stdout
    assert "rows/s" in done.stdout
    return out


def test_replay_writes_alerts_summary_and_report(replayed: Path) -> None:
    table = pl.read_parquet(replayed / "alerts.parquet")
    summary = json.loads((replayed / "summary.json").read_bytes())

    assert "critical" in set(table["severity"])
    assert 5 == summary["stays"]
    assert summary["run"]["synthetic"]
    first = (replayed / "report.html").read_text()
    assert "Synthetic data" in first
    assert table["stay_id"].n_unique() == len(list((replayed / "report").iterdir())) == first.count('href="report/')


def test_the_tables_of_a_simulated_ward_replay_as_its_events_do_and_replace_an_earlier_replay(
    ward: Path, replayed: Path, tmp_path: Path
) -> None:
    shutil.copytree(replayed, tmp_path / "out")
    done = itbwatch(
        "replay", ward / "observations.parquet", "--stays", ward / "stays.parquet", "--pumps", ward / "pumps.ndjson",
        "--context", ward / "context.ndjson", "--workers", 2, "--report-stays", 2, "--out", tmp_path / "out",
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    assert {"alerts.parquet", "summary.json", "report.html", "report"} == {
        path.name for path in (tmp_path / "out").iterdir()
    }
    pages = {page.name for page in (tmp_path / "out" / "report").iterdir()}
    assert 2 == len(pages & {page.name for page in (replayed / "report").iterdir()})

    keys = ["alert_id", "sequence", "syndrome", "severity", "state", "at", "onset_at", "headline", "rules"]
    events, tables = (
        pl.read_parquet(folder / "alerts.parquet").select(keys) for folder in (replayed, tmp_path / "out")
    )
    assert events.equals(tables)


def test_two_processes_make_the_pages_of_one_byte_for_byte_and_a_terminal_sees_how_far_they_are(
    ward: Path, replayed: Path, tmp_path: Path
) -> None:
    code, shown = on_a_terminal("replay", ward / "ward.ndjson", "--workers", 2, "--out", tmp_path / "out")
    pages = [
        {page.name: page.read_bytes() for page in (out / "report").iterdir()} for out in (replayed, tmp_path / "out")
    ]
    first = [(out / "report.html").read_text().splitlines() for out in (replayed, tmp_path / "out")]
    rows = json.loads((tmp_path / "out" / "summary.json").read_bytes())["rows"]

    assert 0 == code
    assert pages[0] == pages[1]
    assert len(pages[0]) > 1
    told = [line for pair in zip(*first, strict=True) if pair[0] != pair[1] for line in pair]
    assert all("rows/s" in line or "seconds" in line or "MB" in line for line in told), "only what the run cost differs"
    for what, total in (("replay", rows), ("report", len(pages[0]))):
        seen = bars(shown, what)
        assert {total} == {of for _, of in seen}, what
        assert sorted(seen) == seen, what
        assert (total, total) == seen[-1], what
    assert any(0 < done < rows for done, _ in bars(shown, "replay"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["replay", "nowhere.parquet"], 2, "nowhere.parquet: no such file"),
        (["replay", "bad.parquet"], 65, "bad.parquet: no readable Parquet file"),
        (["replay", "short.csv"], 65, "short.csv: no column 'value'"),
        (["replay", "short.csv", "--format", "nonsense"], 2, "nonsense"),
        (["replay", "short.csv", "--engine", "sparks"], 2, "--engine"),
        (["replay", "short.csv", "--stays", "nowhere.csv"], 2, "nowhere.csv: no such file"),
        (["replay", "short.csv", "--pumps", "nowhere.ndjson"], 65, "short.csv"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_clear_words_and_leaves_nothing(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"not a parquet file")
    (tmp_path / "short.csv").write_text("patient_id,code,effective_at\n")
    command = [sys.executable, "-m", "pipelines", *words, "--out", "out"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[3])}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert code == done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert {"bad.parquet", "short.csv"} == {path.name for path in tmp_path.iterdir()}


def test_ctrl_c_ends_a_replay_with_130_and_leaves_nothing(tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    assert 0 == itbwatch("simulate", "--beds", 40, "--days", 10, "--out", ward).returncode
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "replay",
        ward / "ward.ndjson",
        "--workers",
        "2",
        "--out",
        tmp_path / "out",
    ]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(6)
    running.send_signal(signal.SIGINT)

    said = running.communicate(timeout=30)
    assert ["", ""] == [text.strip() for text in said]
    assert 130 == running.returncode
    assert [ward] == list(tmp_path.iterdir())


def test_exports_are_written_beside_the_alerts(replayed: Path) -> None:
    table = pl.read_parquet(replayed / "alerts.parquet")
    resources = [json.loads(line) for line in (replayed / "alerts.fhir.ndjson").read_bytes().splitlines()]
    issues = [one for one in resources if one["resourceType"] == "DetectedIssue"]
    assert table["alert_id"].to_list() == [one["id"] for one in issues]
    assert len(table) == (replayed / "alerts.hl7").read_bytes().count(b"MSH|")
    assert len(table) == len((replayed / "alerts.hl7").read_bytes().split(b"\n")) - 1
