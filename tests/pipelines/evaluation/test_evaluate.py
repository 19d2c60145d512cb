"""The command from a cohort folder to a report, as a user meets it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.evaluation.cohort import read_cohort
from pipelines.evaluation.truth import stays_of
from pipelines.evaluation.tuning import burden_of
from pipelines.replay import replay
from pipelines.settings import Settings
from pipelines.settings_file import with_overlay
from tests.pipelines.terminal import bars, on_a_terminal


def itbwatch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def evaluated(cohort_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of an evaluation, and what the terminal said."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    done = itbwatch("evaluate", cohort_folder, "--out", out, "--budget", 2)
    assert (0, "") == (done.returncode, done.stderr)
    return out, done.stdout


@pytest.fixture
def page(evaluated: tuple[Path, str]) -> str:
    return (evaluated[0] / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_folder_holds_figures_report_stays_and_alerts(evaluated: tuple[Path, str]) -> None:
    out, said = evaluated
    result = json.loads((out / "evaluation.json").read_bytes())

    assert {"evaluation.json", "report.html", "stays.parquet", "alerts.parquet", "overlay.yaml"} == {
        path.name for path in out.iterdir()
    }
    assert [1, 2, 3, 5] == result["budgets"]
    assert 20 == len(result["peers"])
    assert {"value", "low", "high", "hits", "of"} == result["product"]["recall"][0]["found"].keys()
    assert "synthetic courses" in said
    assert "NEWS2" in said


@pytest.mark.slow
def test_replayed_under_the_overlay_the_product_makes_the_burden_that_was_promised(
    evaluated: tuple[Path, str], cohort_folder: Path
) -> None:
    out, said = evaluated
    tuned = json.loads((out / "evaluation.json").read_bytes())["tuned"]
    cohort = read_cohort(cohort_folder)

    settings = with_overlay(Settings(), out / "overlay.yaml")
    records = replay(cohort.dataset, settings).records

    assert tuned["burden"] == burden_of(records, stays_of(cohort.truth))
    assert tuned["keeps"] == (tuned["burden"] <= 2)
    assert "overlay.yaml:" in said


@pytest.mark.slow
def test_the_report_needs_nothing_from_outside_and_runs_no_script(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|<script|<iframe|<link|<img|javascript:|\son\w+=", page, re.IGNORECASE
    )


@pytest.mark.slow
def test_the_report_is_well_formed(page: str) -> None:
    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert tag == open_tags.pop()

    Reader().feed(re.sub(r"<(\w+)([^<>]*)/>", r"<\1\2></\1>", page))

    assert [] == open_tags


@pytest.mark.slow
def test_nothing_that_is_read_names_a_patient_or_a_stay_or_a_date(evaluated: tuple[Path, str], page: str) -> None:
    out, said = evaluated
    stays = pl.read_parquet(out / "stays.parquet")
    rules = json.loads((out / "evaluation.json").read_bytes())["run"]["rules_version"]

    for text in (page, said, (out / "evaluation.json").read_text()):
        assert not [name for name in (*stays["stay_id"], *stays["patient_id"]) if name in text]
        text = text.replace(rules, "")  # noqa: PLW2901 - the one date that may stand there: the version of the rules
        assert not re.search(r"20[0-9][0-9]-[01][0-9]-[0-3][0-9]", text)


@pytest.mark.slow
def test_the_report_says_synthetic_and_shows_single_stays_by_label(page: str, evaluated: tuple[Path, str]) -> None:
    labels = pl.read_parquet(evaluated[0] / "stays.parquet")["label"].drop_nulls().to_list()

    assert "Synthetic courses" in page
    assert labels
    assert all(f"<h3>{label}</h3>" in page for label in labels)
    assert page.index("first visible sign</text>") > 0


@pytest.mark.slow
def test_the_full_blown_courses_of_the_simulator_are_found(evaluated: tuple[Path, str]) -> None:
    result = json.loads((evaluated[0] / "evaluation.json").read_bytes())
    found = next(
        row["found"] for row in result["product"]["recall"]
        if (row["tier"], row["severity"], row["by"]) == ("warning", "full_blown", None)
    )  # fmt: skip

    assert 1.0 == found["value"]


@pytest.mark.slow
def test_without_peers_and_with_two_workers_on_a_terminal_the_figures_are_the_same_and_a_bar_goes_to_its_end(
    evaluated: tuple[Path, str], cohort_folder: Path, tmp_path: Path
) -> None:
    code, shown = on_a_terminal("evaluate", cohort_folder, "--out", tmp_path / "out", "--no-peers", "--workers", 2)
    result = json.loads((tmp_path / "out" / "evaluation.json").read_bytes())

    assert (0, {}) == (code, result["peers"])
    assert json.loads((evaluated[0] / "evaluation.json").read_bytes())["product"] == result["product"]
    seen = bars(shown, "replay")
    done = [done for done, _ in seen]
    assert {len(read_cohort(cohort_folder).dataset)} == {total for _, total in seen}
    assert [*sorted(done)] == done
    assert any(0 < one < done[-1] for one in done)
    assert seen[-1][1] == done[-1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere", "--out", "x"], 2, "observations.parquet: no such file"),
        (["nowhere", "--out", "x", "--budget", "0"], 2, "budget"),
    ],
)
def test_mistakes_are_named_before_any_work(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    done = itbwatch("evaluate", *(str(tmp_path / word) if word in ("x", "nowhere") else word for word in words))

    assert code == done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_with_something_else_is_not_replaced(tmp_path: Path, cohort_folder: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = itbwatch("evaluate", cohort_folder, "--out", tmp_path)

    assert (2, "years of work") == (done.returncode, (tmp_path / "thesis.txt").read_text())
    assert "thesis.txt" in done.stderr
