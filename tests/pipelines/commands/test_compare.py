"""`itbwatch compare` on what replay and stream really leave behind."""

import csv
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.datasets import open_dataset
from pipelines.formats.canonical import encode
from pipelines.plan_files import load_plan
from pipelines.replay import replay
from pipelines.results import summarise, write
from pipelines.settings import Settings
from pipelines.settings_file import with_overlay
from pipelines.simulate import Bed, events
from tests.pipelines.test_shadow import OVERLAY, START, feed, service

LESS = {"only_champion", "lower", "later"}
"""What a plan does that only asks for more."""


def compare(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines", "compare", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Now = a replay with a shadow, next = a replay of the same with the overlay, other = of fewer stays."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "quieter.yaml").write_text(OVERLAY)
    happened = events([Bed(1, pump=True, course="published"), Bed(2, pump=True)], START, hours=30, seed=1)
    plan = load_plan(Settings())
    for name, some in (
        ("whole", happened),
        ("part", [one for one in happened if one.patient_id == happened[0].patient_id]),
    ):
        (folder / f"{name}.ndjson").write_bytes(b"".join(encode(event) + b"\n" for event in some))

    def run(name: str, source: str, settings: Settings, beside: Settings | None = None) -> None:
        dataset = open_dataset("canonical", (folder / source,), stays=None, pumps=None, context=None)
        outcome = replay(dataset, settings)
        asked = {"inputs": [source], "format": "canonical", "pumps": None, "synthetic": True}
        summary = summarise(outcome, plan, rows=1, seconds=1, run=asked)
        shadow = None if beside is None else replay(dataset, beside).records
        write(folder / name, outcome.records, summary, "<html>", shadow=shadow)

    quieter = with_overlay(Settings(), folder / "quieter.yaml")
    run("now", "whole.ndjson", Settings(), quieter)
    run("next", "whole.ndjson", quieter)
    run("other", "part.ndjson", Settings())
    return folder


def test_a_replay_with_a_shadow_and_two_replays_say_the_same(results: Path) -> None:
    one = json.loads(compare(results / "now", "--json").stdout)
    two = json.loads(compare(results / "now", results / "next", "--json").stdout)

    assert one["differences"]
    assert one["differences"] == two["differences"]
    assert one["burden"] == two["burden"]
    assert {difference["kind"] for difference in one["differences"]} <= LESS
    assert one["champion"]["plans"] != one["challenger"]["plans"]


def test_no_identifier_leaves_but_into_the_file_that_was_asked_for(results: Path, tmp_path: Path) -> None:
    done = compare(results / "now", "--stays", tmp_path / "stays.csv")

    assert (0, "") == (done.returncode, done.stderr)
    assert "SYN-" not in done.stdout + compare(results / "now", "--json").stdout
    assert "matters differ" in done.stdout
    rows = list(csv.DictReader((tmp_path / "stays.csv").read_text().splitlines()))
    assert {row["patient_id"] for row in rows} <= {"SYN-0001", "SYN-0002"}
    assert rows
    assert stat.S_IMODE((tmp_path / "stays.csv").stat().st_mode) == 0o600


def test_the_same_replay_differs_in_nothing(results: Path) -> None:
    done = compare(results / "now", results / "now")

    assert 0 == done.returncode
    assert done.stdout.endswith("no difference\n")


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ((), 2, "expected CHAMPION_DIR"),
        (("now", "next", "other"), 2, "3 folders; expected one or two"),
        (("nowhere",), 2, "summary.json: no such file; expected a folder that replay wrote"),
        (("next",), 2, "shadow.parquet: no such file; expected a replay with --shadow, or a second folder"),
        (("now", "other"), 65, "expected 2 as in"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    results: Path, words: tuple[str, ...], code: int, line: str
) -> None:
    done = compare(*(results / word for word in words))

    assert code == done.returncode
    assert line in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_a_store_says_what_the_shadow_would_have_done_since_it_began(tmp_path: Path) -> None:
    (tmp_path / "quieter.yaml").write_text(OVERLAY)
    config = {
        "source": "file", "time": "stream", "store": {"path": str(tmp_path / "store.sqlite")},
        "file": {"path": str(tmp_path / "e.ndjson"), "alerts": str(tmp_path / "a.ndjson"), "deadletters": str(tmp_path / "d")},
        "shadow": {"overlay": str(tmp_path / "quieter.yaml")},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    settings = Settings.model_validate(config)
    plain = settings.model_copy(update={"shadow": None})
    course = events([Bed(1, pump=True, course="published")], START, hours=30, seed=1)
    with service(plain) as made:
        feed(plain, made, [])
    refused = compare("--config", tmp_path / "config.yaml")
    assert 65 == refused.returncode
    assert "no plan ran in the shadow" in refused.stderr
    with service(settings) as made:
        feed(settings, made, course)
    told = json.loads(compare("--config", tmp_path / "config.yaml", "--json").stdout)

    assert told["differences"]
    assert {difference["kind"] for difference in told["differences"]} <= LESS
    assert 1.0 < told["patient_days"] < 1.3
