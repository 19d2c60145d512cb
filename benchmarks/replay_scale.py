"""Replay of SYNTHETIC data sets in the shape of MIMIC-IV, of several sizes: processor time, memory, and the slope.

    .venv/bin/python benchmarks/generate_mimic_iv.py FOLDER --rows 50000000 --data ../shared/data/raw     # once a size
    .venv/bin/python benchmarks/replay_scale.py FOLDER... [--workers 2] [--json FILE]

Each folder is replayed by the command itself, with the pumps of its pumps.ndjson. Processor time is that of all its
processes, user and system; the slope is that between the smallest and the largest folder, and is laid on the rows of
MIMIC-IV 2.2 (chartevents 313,645,063 and labevents 118,171,367: row counts of its authors' validation script).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MIMIC_IV_ROWS = 313_645_063 + 118_171_367


def measured(folder: Path, workers: int) -> dict[str, Any]:
    """One replay of a folder: rows, seconds, bytes."""
    with tempfile.TemporaryDirectory() as out:
        words = ["replay", "--format", "mimic-iv", folder, "--pumps", folder / "pumps.ndjson", "--workers", workers]
        command = [sys.executable, "-m", "pipelines", *map(str, words), "--report-stays", "0", "--out", f"{out}/o"]
        start = time.monotonic()
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            raise SystemExit(f"{folder}: the replay ended with {running.returncode}")
        summary = json.loads(Path(out, "o", "summary.json").read_bytes())
    skipped = sum(summary["skipped"].values())
    rejected = sum(count for reasons in summary["rejected"].values() for count in reasons.values())
    return {
        "rows": summary["rows"], "run": summary["rows"] - skipped - rejected, "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - start, "peak_mb": summary["peak_memory_mb"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = sorted((measured(folder, asked.workers) for folder in asked.folders), key=lambda one: int(one["rows"]))
    print(f"{'rows':>12} {'run':>9} {'cpu s':>8} {'wall s':>8} {'peak MB':>8} {'rows/s of processor time':>25}")
    for one in found:
        rate = one["rows"] / one["cpu_s"]
        print(f"{one['rows']:>12,} {one['run']:>9,} {one['cpu_s']:>8.1f} {one['wall_s']:>8.1f} {one['peak_mb']:>8.0f} {rate:>25,.0f}")  # fmt: skip
    if len(found) > 1:
        first, last = found[0], found[-1]
        slope = (last["cpu_s"] - first["cpu_s"]) / (last["rows"] - first["rows"])
        whole = first["cpu_s"] + slope * (MIMIC_IV_ROWS - first["rows"])
        print(f"slope {slope * 1e6:.2f} s of processor time a million rows; MIMIC-IV, {MIMIC_IV_ROWS:,} rows: {whole / 60:.0f} min of one core")  # fmt: skip
    if asked.json is not None:
        asked.json.write_text(
            json.dumps({"machine": platform.platform(), "cores": os.cpu_count(), "runs": found}, indent=2)
        )


if __name__ == "__main__":
    main()
