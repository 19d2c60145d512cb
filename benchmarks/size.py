"""What a worker needs for so many patients: memory, store and processor time, on a simulated ward of three days.

``python benchmarks/size.py [BEDS...]`` from the root of the repository. Everything is synthetic.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from pipelines.formats.canonical import encode
from pipelines.simulate import events, random_ward

START, HOURS, SEED = 1_900_022_400_000, 72, 1
ROOT = Path(__file__).resolve().parents[1]


def measured(beds: int, folder: Path) -> dict[str, float]:
    """The metrics of a service that has read the ward, by name, each summed over its labels."""
    ward = events(random_ward(beds, HOURS / 24, SEED), START, HOURS, SEED) if beds else []
    staying = [event for event in ward if getattr(event, "event", None) != "discharged"]
    (folder / "events.ndjson").write_bytes(b"".join(encode(event) + b"\n" for event in staying))
    chosen = {"source": "file", "time": "stream", "http": {"port": 0}, "file": {"alerts": "alerts.ndjson"}}
    (folder / "config.yaml").write_text(json.dumps(chosen))
    log = folder / "log"
    words = [sys.executable, "-m", "pipelines", "stream", "--config", "config.yaml"]
    with log.open("w") as errors:
        service = subprocess.Popen(words, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stderr=errors)
    try:
        before: dict[str, float] = {}
        while True:
            time.sleep(4)
            addresses = re.findall(r"at (http://\S+/)", log.read_text())
            if not addresses:
                continue
            now: dict[str, float] = {}
            with urllib.request.urlopen(addresses[-1] + "metrics", timeout=60) as answer:  # noqa: S310 - our own
                for line in answer.read().decode().splitlines():
                    if not line.startswith("#"):
                        name, value = line.split("{")[0].split(" ")[0], line.rsplit(" ", 1)[1]
                        now[name] = now.get(name, 0.0) + float(value)
            if before.get("itbwatch_observations_total") == now["itbwatch_observations_total"]:
                return now
            before = now
    finally:
        service.terminate()
        service.wait()


if __name__ == "__main__":
    for beds in [int(word) for word in sys.argv[1:]] or [0, 50, 200]:
        with tempfile.TemporaryDirectory() as name:
            found = measured(beds, Path(name))
            store = sum(file.stat().st_size for file in Path(name).glob("itbwatch.sqlite*"))
        print(
            f"{beds} beds, {found['itbwatch_observations_total']:,.0f} observations:"
            f" {found['itbwatch_process_resident_memory_bytes'] / 1e6:.0f} MB resident,"
            f" {found['itbwatch_state_bytes'] / 1e6:.1f} MB state, {store / 1e6:.1f} MB store,"
            f" {found['itbwatch_process_cpu_seconds_total']:.1f} s of processor time"
        )
