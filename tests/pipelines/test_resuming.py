"""A replay that was interrupted goes on where it stopped, and its results are those of one that was not."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detector.clock import from_datetime
from pipelines.commands.simulate import START
from pipelines.dataset import RANK, Dataset
from pipelines.plan_files import load_plan
from pipelines.replay import Outcome, replay
from pipelines.resuming import KeptShares, kept_beside, key_of
from pipelines.settings import Settings
from pipelines.simulate import Bed, events

BEDS = [Bed(number, pump=True, course="withdrawal_moderate", onset_h=2) for number in range(1, 7)]


@pytest.fixture(scope="module")
def ward() -> Dataset:
    made = events(BEDS, from_datetime(START), 5, seed=1)
    return Dataset(
        ("ward.ndjson",), others=[((one.available_at, RANK[type(one)], 0, row), one) for row, one in enumerate(made)]
    )


def test_what_was_finished_before_an_interrupt_is_not_run_again(ward: Dataset, tmp_path: Path) -> None:
    alone = replay(ward, Settings())
    kept = KeptShares(tmp_path / "kept")
    done: list[int] = []

    def interrupted(events: int) -> None:
        done.append(events)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(ward, Settings(), keep=kept.run, progress=interrupted)
    before = {path: path.stat().st_mtime_ns for path in kept.folder.iterdir()}
    again = replay(ward, Settings(), keep=kept.run)

    assert 2 == len(before)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert alone.records == again.records
    assert (alone.stays, alone.counts, alone.rejected, alone.events) == (
        again.stays, again.counts, again.rejected, again.events
    )  # fmt: skip
    assert {0o600} == {path.stat().st_mode & 0o777 for path in kept.folder.iterdir()}
    assert 0o700 == kept.folder.stat().st_mode & 0o777
    kept.forget()
    assert [] == list(tmp_path.iterdir())


def test_a_share_that_was_cut_short_or_of_other_rows_or_another_plan_is_run(ward: Dataset, tmp_path: Path) -> None:
    kept = KeptShares(tmp_path)
    share, other = list(ward.shares(6))[:2]
    runs: list[Dataset] = []

    def run(one: Dataset) -> Outcome:
        runs.append(one)
        return Outcome(events=len(one))

    for digest, one in (("a", share), ("a", share), ("b", share), ("a", other)):
        assert len(one) == kept.run(digest, one, run).events
    assert [share, share, other] == runs
    (tmp_path / f"{key_of('a', share)}.share").write_bytes(b"\x95\x90")
    kept.run("a", share, run)

    assert 4 == len(runs)


def test_a_command_that_is_interrupted_and_typed_again_writes_the_same_bytes(tmp_path: Path) -> None:
    simulate = ["simulate", "--beds", "6", "--days", "2", "--out", tmp_path / "ward"]
    assert 0 == subprocess.run([sys.executable, "-m", "pipelines", *map(str, simulate)], check=False).returncode
    plain, resumed = tmp_path / "plain", tmp_path / "resumed"
    kept = kept_beside(resumed).folder
    words = [sys.executable, "-m", "pipelines", "replay", str(tmp_path / "ward" / "ward.ndjson"), "--workers", "2"]
    assert 0 == subprocess.run([*words, "--out", str(plain)], capture_output=True, check=False).returncode

    first = subprocess.Popen(
        [*words, "--resume", "--out", str(resumed)], stdout=subprocess.PIPE, start_new_session=True
    )
    until = time.monotonic() + 60
    while not list(kept.glob("*.share")) and time.monotonic() < until:
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    finished = len(list(kept.glob("*.share")))
    again = subprocess.run([*words, "--resume", "--out", str(resumed)], capture_output=True, text=True, check=False)

    assert (130, 0) == (first.returncode, again.returncode), again.stderr
    assert finished
    assert (plain / "alerts.parquet").read_bytes() == (resumed / "alerts.parquet").read_bytes()
    assert not kept.exists()
    assert load_plan(Settings()).digest[:16] in again.stdout
