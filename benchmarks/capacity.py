"""What a worker needs: memory and stored bytes of patients with 72 h of vitals, the time from start to ready, a scrape.

PATIENTS gated patients with eight vital signs a minute for 72 h go through `stream` from a file; then it is started again on its
store. Figures of one patient are of those; a thousand are not run, because 35 million readings would be read for it.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.history import readings
from benchmarks.table import Line
from detector.events import Encounter, Observation, Pump, Ticked
from pipelines.formats.canonical import encode

PATIENTS, HOURS = 10, 72
SCRAPES = 20
START = 1_900_022_400_000


class Service:
    """`itbwatch stream` on a file, read over HTTP."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.log.write_text("")
        self.began = time.monotonic()
        with self.log.open("a") as errors:
            words = [sys.executable, "-m", "pipelines", "stream", "--config", str(folder / "config.yaml")]
            self.process = subprocess.Popen(words, stderr=errors, cwd=folder)

    def get(self, path: str) -> str:
        while not (found := re.findall(r"at (http://\S+/)", self.log.read_text())):
            time.sleep(0.02)
        while True:
            try:
                with urllib.request.urlopen(found[-1] + path, timeout=60) as answer:  # noqa: S310 - our own
                    return str(answer.read().decode())
            except OSError:
                time.sleep(0.02)

    def metric(self, name: str) -> float:
        lines = [one for one in self.get("metrics").splitlines() if one.startswith(name)]
        return sum(float(one.rsplit(" ", 1)[1]) for one in lines)

    def ready_s(self) -> float:
        """From its start until it says so."""
        while "ready" not in self.get("readyz"):
            time.sleep(0.02)
        return time.monotonic() - self.began

    def until_read(self) -> None:
        before = -1.0
        while (now := self.metric("itbwatch_observations_total")) != before or not now:
            before = now
            time.sleep(3)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def write_ward(path: Path, patients: int) -> None:
    """The history of a patient, for each of them."""
    with path.open("wb") as file:
        for number in range(patients):
            name = f"p-{number}"
            admitted = Encounter(patient_id=name, stay_id=name, event="admitted", at=START, available_at=START)
            file.write(encode(admitted) + b"\n")
            file.write(encode(Pump(patient_id=name, event="implanted", at=START, available_at=START)) + b"\n")
        for minute in range(HOURS * 60):
            for event in readings(minute):
                if isinstance(event, Ticked):
                    continue
                assert isinstance(event, Observation)
                line = encode(event)
                for number in range(patients):
                    file.write(line.replace(b'"patient_id":"p"', b'"patient_id":"p-%d"' % number) + b"\n")


def run(patients: int) -> dict[str, float]:
    """One service from nothing, and once more on its store."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_ward(folder / "events.ndjson", patients)
        chosen = {"source": "file", "time": "stream", "http": {"port": 0}, "file": {"alerts": "alerts.ndjson"}}
        (folder / "config.yaml").write_text(json.dumps(chosen))
        first = Service(folder)
        first.until_read()
        said = {
            "memory": first.metric("itbwatch_process_resident_memory_bytes"),
            "state": first.metric("itbwatch_state_bytes"),
            "series": float(sum(not one.startswith("#") for one in first.get("metrics").splitlines())),
        }
        scrapes = []
        for _ in range(SCRAPES):
            began = time.perf_counter()
            first.get("metrics")
            scrapes.append(time.perf_counter() - began)
        first.stop()
        again = Service(folder)
        said |= {"scrape": statistics.median(scrapes), "ready": again.ready_s()}
        again.stop()
        return said


def lines() -> list[Line]:
    """A patient is the difference between many and one."""
    one, many = run(1), run(PATIENTS)
    each = PATIENTS - 1
    return [
        Line("memory of a gated patient with 72 h", (many["memory"] - one["memory"]) / each / 1024, "KiB", 512, at_most=True),
        Line("stored form of it", (many["state"] - one["state"]) / each / 1024, "KiB"),
        Line(f"start to ready with {PATIENTS} of them", many["ready"], "s", note=f"with one {one['ready']:.2f}"),
        Line("the same for 1,000, by the difference", one["ready"] + 1_000 * (many["ready"] - one["ready"]) / each, "s", 5, at_most=True, note="extrapolated"),
        Line("scrape", 1_000 * many["scrape"], "ms", 15, at_most=True, note=f"{PATIENTS} patients"),
        Line("series of a scrape", many["series"], "series", 2_000, at_most=True),
    ]  # fmt: skip
