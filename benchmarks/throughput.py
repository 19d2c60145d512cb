"""Records a second from a backlog on a real broker: `stream`, the bare loop of its client, and the peers, each as a process.

Of each process the time from the first twentieth of the records to the last is taken, and the processor time within it, so
that neither its start nor the joining of its group counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.table import Line, interleaved
from benchmarks.ward import fill
from tests.kafka.broker import Broker, create_topics
from tests.pipelines.live import Site, Stream, counted

PARTITIONS = 8
FIRST, LAST = 0.05, 0.95
LOOK_S = 0.2
PEERS = Path(__file__).with_name("peers")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Rate(NamedTuple):
    """Records a second of wall time, and of processor time of the process."""

    wall: float
    cpu: float


def cpu_s(pid: int) -> float:
    """User and system time of a process and its threads."""
    said = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(said[11]) + int(said[12])) / TICKS_A_SECOND


def of_stream(stream: Stream, total: int) -> Rate:
    """Looks at the metrics as Prometheus does."""
    marks: list[tuple[int, float, float]] = []
    while not marks or marks[-1][0] < LAST * total:
        seen = counted(stream.wait(stream.metrics), "observations_total")
        if seen >= FIRST * total:
            marks.append((seen, time.monotonic(), cpu_s(stream.process.pid)))
        time.sleep(LOOK_S)
    (first, began, cpu), (last, ended, cpu_then) = marks[0], marks[-1]
    if len(marks) < 4:
        raise SystemExit("benchmarks: too few records for the speed of this machine; expected more minutes")
    return Rate((last - first) / (ended - began), (last - first) / (cpu_then - cpu))


def of_script(python: Path | str, script: Path, *words: object) -> Rate:
    """A script that reads the topic and prints records, seconds and processor seconds of that part."""
    said = subprocess.run([python, script, *map(str, words)], capture_output=True, text=True, check=False)
    if said.returncode:
        raise SystemExit(f"benchmarks: {script.name} ended with {said.returncode}: {said.stderr.strip()[-400:]}")
    records, seconds, cpu = map(float, said.stdout.split()[-3:])
    return Rate(records / seconds, records / cpu)


class Runs:
    """The broker with its two wards, and one run of each."""

    def __init__(self, bootstrap: str, folder: Path, patients: int, minutes: int) -> None:
        self._bootstrap = bootstrap
        self._folder = folder
        self.totals: dict[float, int] = {}
        for gated in (0.02, 1.0):
            site = self._site(gated)
            create_topics(bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), PARTITIONS))
            self.totals[gated] = fill(bootstrap, site.prefix, patients, minutes, gated, PARTITIONS)

    def _site(self, gated: float) -> Site:
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir()
        prefix = f"gated{round(100 * gated)}."
        site = Site(self._bootstrap, prefix, folder, poll={"max_records": 2_000})
        text = site.config.read_text()
        site.config.write_text(text.replace(f'"{prefix}group"', f'"{folder.name}"'))  # a group that never read before
        return site

    def stream(self, gated: float) -> Rate:
        with self._site(gated).streaming() as stream:
            return of_stream(stream, self.totals[gated])

    def script(self, python: Path | str, name: str) -> Rate:
        total = self.totals[0.02]
        topic = "gated2.observations"
        return of_script(python, PEERS / name, self._bootstrap, topic, PARTITIONS, total, self._folder)


@contextmanager
def runs(patients: int, minutes: int) -> Iterator[Runs]:
    with ExitStack() as opened, tempfile.TemporaryDirectory() as folder:
        yield Runs(opened.enter_context(Broker()).bootstrap, Path(folder), patients, minutes)


def _told(name: str, measure: Callable[[], Rate]) -> float:
    rate = measure()
    print(f"    {name}: {rate.wall:,.0f} records/s, {rate.cpu:,.0f} a second of processor", flush=True)
    return rate.cpu


def lines(rounds: int, peers: Path, patients: int = 5_000, minutes: int = 10) -> list[Line]:
    """Everything on one broker, in turn."""
    with runs(patients, minutes) as made:
        measures: dict[str, Callable[[], Rate]] = {
            "bare": lambda: made.script(sys.executable, "bare_loop.py"),
            "2": lambda: made.stream(0.02),
            "100": lambda: made.stream(1.0),
        }
        if peers.exists():
            measures["quix"] = lambda: made.script(peers, "quix_state.py")
            measures["faust"] = lambda: made.script(peers, "faust_state.py")
        rate = interleaved(rounds, {name: partial(_told, name, measure) for name, measure in measures.items()})
    said = [
        Line("stream, 2 % gated, over the bare loop", rate["2"] / rate["bare"], "ratio", 0.6),
        Line("stream, 2 % gated", rate["2"], "records/CPU s"),
        Line("stream, 100 % gated", rate["100"], "records/CPU s", 25_000),
        Line("bare kafka-python consume and decode", rate["bare"], "records/CPU s"),
    ]
    if "quix" in rate:
        said.insert(
            1, Line("stream, 2 % gated, over Quix Streams' state update", rate["2"] / rate["quix"], "ratio", 1.0)
        )
        said.insert(
            3, Line("stream, 100 % gated, over Faust's state update", rate["100"] / rate["faust"], "ratio", 2.0)
        )
        said += [
            Line("Quix Streams, state update", rate["quix"], "records/CPU s"),
            Line("Faust, state update", rate["faust"], "records/CPU s"),
        ]
    return said
