import os
import stat
from collections import Counter
from pathlib import Path

import msgspec
import polars as pl
import pytest

from detector.clock import DAY
from detector.errors import ConfigError
from detector.plan import PUBLIC_KEY
from detector.records import AlertRecord, Evidence, Gate, Provenance
from pipelines.burden import Exposure
from pipelines.plan_files import load_plan
from pipelines.replay import Outcome
from pipelines.reports.alerted import alerted_stays
from pipelines.reports.overview import overview
from pipelines.results import alerts_table, check_output, summarise, write
from pipelines.settings import Settings


def record(**changes: object) -> AlertRecord:
    line = Evidence(
        "C-13", "temp", 41.7, "Cel", "2150-03-01T08:00:00.000Z", "2150-03-01T08:05:00.123Z", source="<b>probe</b>"
    )
    fields = {
        "alert_id": "a" * 32, "sequence": 1, "patient_id": "p", "stay_id": "s", "syndrome": "itb_withdrawal",
        "severity": "critical", "state": "opened", "previous_severity": None, "reason": "rule_true",
        "at": "2150-03-01T08:05:00.123Z", "onset_at": "2150-03-01T08:00:00.000Z", "headline": "<script>alert(1)</script>",
        "evidence": (line, line, Evidence("W-03", "context", None, None, line.effective_at, line.available_at)),
        "missing": ("no CK in 24 h",), "against": (), "differentials": (), "checks": (), "score": None,
        "gate": Gate("present", "unknown"), "provenance": Provenance("d", "v", {}, ()), "unit": "MICU",
    }  # fmt: skip
    return AlertRecord(**fields | changes)  # type: ignore[arg-type]


OUTCOME = Outcome(
    records=[record(), record(sequence=2, state="amended"), record(alert_id="b" * 32, severity="watch", onset_at=None)],
    stays=[Exposure("s", "MICU", 0, 10 * DAY, gated=5 * DAY)],
    counts=Counter({("late_observations_total", "hr"): 2, ("rule_evaluations_total", "C-13", "true"): 3}),
    rejected=Counter({("observations", "no_value"): 4}),
    events=100,
)
RUN = {"inputs": ["o.parquet"], "format": "canonical", "pumps": "all", "synthetic": True}


@pytest.fixture(scope="module")
def summary() -> dict[str, object]:
    return summarise(OUTCOME, load_plan(Settings()), rows=104, seconds=2.0, run=RUN)


def test_the_alerts_table_has_the_columns_and_types_of_the_contract() -> None:
    table = alerts_table(OUTCOME.records)

    assert [
        "alert_id", "sequence", "patient_id", "stay_id", "syndrome", "severity", "state", "at", "onset_at", "headline",
        "rules", "score", "alert",
    ] == table.columns  # fmt: skip
    assert [pl.Datetime("us", "UTC")] * 2 == [table["at"].dtype, table["onset_at"].dtype]
    assert 123_000 == table["at"][0].microsecond
    assert "C-13,W-03" == table["rules"][0]
    assert OUTCOME.records[0] == msgspec.json.decode(table["alert"][0], type=AlertRecord)


def test_an_empty_alerts_table_keeps_its_types() -> None:
    assert alerts_table(OUTCOME.records).schema == alerts_table([]).schema


def test_rates_are_per_patient_day_and_per_gated_patient_day(summary: dict[str, object]) -> None:
    assert {"info": 0, "watch": 1, "warning": 0, "critical": 1} == summary["alerts_by_severity"]
    assert {"info": 0.0, "watch": 10.0, "warning": 0.0, "critical": 10.0} == summary["alerts_per_100_patient_days"]
    assert {"info": 0.0, "watch": 20.0, "warning": 0.0, "critical": 20.0} == summary[
        "alerts_per_100_gated_patient_days"
    ]


def test_the_summary_counts_what_was_not_used(summary: dict[str, object]) -> None:
    assert {"observations": {"no_value": 4}} == summary["rejected"]
    assert {"hr": 2} == summary["late_observations"]
    assert {"C-13": {"true": 3}} == summary["rule_evaluations"]
    assert (104, 52.0) == (summary["rows"], summary["rows_per_second"])


def test_without_a_gated_day_there_is_no_rate() -> None:
    bare = Outcome(stays=[Exposure("s", None, 0, DAY)])
    figures = summarise(bare, load_plan(Settings()), rows=1, seconds=1.0, run=RUN)

    assert {None} == set(figures["alerts_per_100_gated_patient_days"].values())


def test_the_first_page_is_escaped_stands_alone_and_says_what_it_is(summary: dict[str, object]) -> None:
    stays = alerted_stays(OUTCOME.records, PUBLIC_KEY)
    report = overview(OUTCOME, summary, stays, {one.name for one in stays})

    assert "<script>" not in report
    assert "&lt;script&gt;" in report
    assert "http" not in report.replace("http-equiv", "")
    assert "Not a medical device" in report
    assert "Synthetic data" in report


def test_results_are_written_together_and_replace_an_earlier_replay(tmp_path: Path, summary: dict[str, object]) -> None:
    out = tmp_path / "deep" / "out"
    for _ in range(2):
        check_output(out)
        write(out, OUTCOME.records, summary, "<html>", pages=[(f"{'0' * 20}.html", "<html>")])

    assert {"alerts.parquet", "summary.json", "report.html", "report"} == {path.name for path in out.iterdir()}
    assert [f"{'0' * 20}.html"] == [path.name for path in (out / "report").iterdir()]
    assert [out] == list(out.parent.iterdir())


def test_what_names_patients_is_readable_by_its_owner_alone(tmp_path: Path, summary: dict[str, object]) -> None:
    out = tmp_path / "out"
    before = os.umask(0)
    try:
        write(
            out, OUTCOME.records, summary, "<html>", {"fhir": lambda _: [b"{}"]}, [], [(f"{'0' * 20}.html", "<html>")]
        )
    finally:
        os.umask(before)

    written = {path.relative_to(out): stat.S_IMODE(path.stat().st_mode) for path in [out, *out.rglob("*")]}
    assert 8 == len(written)
    assert {0o700} == {mode for name, mode in written.items() if str(name) in (".", "report")}
    assert {0o600} == {mode for name, mode in written.items() if str(name) not in (".", "report")}


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write(tmp_path / "out", [], {"cannot": object()}, "")

    assert [] == list(tmp_path.iterdir())


def test_a_folder_with_other_things_in_it_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()

    with pytest.raises(ConfigError, match=r"thesis\.docx"):
        check_output(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        check_output(tmp_path / "thesis.docx")


def test_a_folder_of_pages_with_other_things_in_it_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / f"{'a' * 20}.html").touch()
    check_output(tmp_path)
    (tmp_path / "report" / "thesis.docx").touch()

    with pytest.raises(ConfigError, match=r"report/thesis\.docx"):
        check_output(tmp_path)
