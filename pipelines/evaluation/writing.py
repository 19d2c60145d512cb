"""What an evaluation leaves behind: evaluation.json, report.html, stays.parquet, alerts.parquet, and overlay.yaml where
thresholds were tuned; all or none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from detector.errors import ConfigError
from detector.records import AlertRecord
from detector.rules.overlay import Overlay
from pipelines.evaluation.intervals import Figure
from pipelines.overlay_files import write_overlay
from pipelines.results import alerts_table

RESULT, REPORT, STAYS, ALERTS = "evaluation.json", "report.html", "stays.parquet", "alerts.parquet"
OVERLAY = "overlay.yaml"


def check_output(out: Path) -> None:
    """Refuse, before any work, a folder that an evaluation may not replace.

    Raises:
        ConfigError: ``out`` is a file, or holds something other than an earlier evaluation.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError([f"{out}: is a file; expected a folder for the results, --out DIR"])
    others = sorted({path.name for path in out.glob("*")} - {RESULT, REPORT, STAYS, ALERTS, OVERLAY})
    if others:
        raise ConfigError([f"{out}: holds {others[0]!r}; expected a new folder or an earlier evaluation's, --out DIR"])


def write(
    out: Path, result: Mapping[str, Any], report: str, stays: pl.DataFrame, records: Iterable[AlertRecord],
    overlay: Overlay | None = None,
) -> None:  # fmt: skip
    """Write the files beside ``out`` and move them there as one folder; a failure leaves nothing behind."""
    out = out.absolute()
    part, old = (out.with_name(f".{out.name}.{what}-{os.getpid()}") for what in ("part", "old"))
    try:
        part.mkdir(parents=True)
        (part / RESULT).write_bytes(msgspec.json.format(msgspec.json.encode(plain(result)), indent=2) + b"\n")
        (part / REPORT).write_text(report, encoding="utf-8")
        stays.write_parquet(part / STAYS)
        alerts_table(records).write_parquet(part / ALERTS)
        if overlay is not None:
            write_overlay(part / OVERLAY, overlay)
        if out.exists():
            out.rename(old)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def plain(value: Any) -> Any:
    """Figures as objects with their names; all other values as they are."""
    if isinstance(value, Figure):
        return value._asdict()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value
