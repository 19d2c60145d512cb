"""A few kill points and failing disks with a real process, and that the comparison can say no."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from pipelines.plan_files import load_plan
from tests.torture.__main__ import main
from tests.torture.courses import course
from tests.torture.file_run import SETTINGS, FileRun, may_trace
from tests.torture.oracle import Difference
from tests.torture.points import COURSE, unlike
from tests.torture.results import Results


@pytest.fixture(scope="module", autouse=True)
def _traced():
    if not may_trace():
        pytest.skip("strace is not installed, or may not trace")


@pytest.mark.slow
def test_a_process_that_dies_or_cannot_write_at_a_system_call_leaves_what_another_brings_to_the_end(tmp_path):
    results = Results(tmp_path / "results.json")
    results.row("points", "", "").resume = 299
    results.row("disk", "", "").resume = 6
    results.save()

    assert 0 == main(
        ["--only", "points,disk", "--points", "1", "--disk", "1", "--results", str(tmp_path / "results.json")]
    )

    points, disk = Results(tmp_path / "results.json").rows.values()
    assert (1, 300, 1) == (points.times, points.resume, points.by_kind["pwrite64: ended with -9"])
    assert (1, 7, 1) == (disk.times, disk.resume, disk.by_kind["pwrite64: ended with 74"])


@pytest.mark.slow
def test_the_comparison_sees_a_row_that_is_lost_or_told_otherwise(tmp_path):
    run = FileRun(tmp_path / "run", course(COURSE))
    assert 0 == run.run()
    before, plan = run.left(), load_plan(SETTINGS)
    assert Difference() == run.difference(plan)
    assert len(before["alerts"]) >= 3
    assert len(before["deadletters"]) >= 1

    with closing(sqlite3.connect(run.folder / "store.sqlite")) as connection, connection:
        connection.execute("delete from segments where number = 1")
        connection.execute("update positions set next_offset = next_offset - 1 where topic = 'events.ndjson'")

    assert ["positions differs", "segments differs"] == unlike(before, run.left())
    lines = (run.folder / "alerts.ndjson").read_bytes().splitlines(keepends=True)
    (run.folder / "alerts.ndjson").write_bytes(b"".join(lines[1:]))
    assert 0 < run.difference(plan).lost
    assert not run.finished()
    assert json.loads(lines[0])["sequence"] == 1
