"""What a replay leaves behind: alerts.parquet and summary.json, report and exports, all together or not at all."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from detector.errors import ConfigError
from detector.plan import Plan
from detector.records import SEVERITIES, AlertRecord
from pipelines.exports import EXPORTS, Export
from pipelines.pseudonym import BITS
from pipelines.replay import Outcome
from pipelines.sieve import SKIPPED

ALERTS, SUMMARY, REPORT = "alerts.parquet", "summary.json", "report.html"
PAGES = "report"
"""The folder with a page for each alerted stay, beside the report."""
SHADOW = "shadow.parquet"
"""As ``ALERTS``, of the overlay of ``replay --shadow``."""
COUNTED_STATES = ("opened", "raised")
"""The steps of an alert that ask for attention, hence the ones a burden counts."""

_PAGE = re.compile(rf"[0-9a-f]{{{BITS // 4}}}\.html")
_UTC = pl.Datetime("us", "UTC")
_SCHEMA: dict[str, Any] = {
    "alert_id": pl.String, "sequence": pl.Int64, "patient_id": pl.String, "stay_id": pl.String, "syndrome": pl.String,
    "severity": pl.String, "state": pl.String, "at": pl.String, "onset_at": pl.String, "headline": pl.String,
    "rules": pl.String, "score": pl.Float64, "alert": pl.String,
}  # fmt: skip


def alerts_table(records: Iterable[AlertRecord]) -> pl.DataFrame:
    """One row a record in the columns of DESIGN.md section 3; ``rules`` are the ids behind the evidence, by commas."""
    rows = [
        (one.alert_id, one.sequence, one.patient_id, one.stay_id, one.syndrome, one.severity, one.state, one.at,
         one.onset_at, one.headline, ",".join(dict.fromkeys(line.rule for line in one.evidence)), one.score,
         one.to_json().decode())
        for one in records
    ]  # fmt: skip
    table = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return table.with_columns(
        pl.col("at", "onset_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="us").cast(_UTC)
    )


def summarise(outcome: Outcome, plan: Plan, *, rows: int, seconds: float, run: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a replay. ``rows`` were read, in ``seconds`` of wall time with reading; ``run`` says what was asked for."""
    days = sum(stay.days for stay in outcome.stays)
    gated_days = sum(stay.gated_days for stay in outcome.stays)
    alerts: Counter[tuple[str, str, str]] = Counter(
        (one.syndrome, one.severity, one.state) for one in outcome.records if one.state in COUNTED_STATES
    )
    by_severity = {word: sum(n for key, n in alerts.items() if key[1] == word) for word in SEVERITIES}
    return {
        "run": dict(run),
        "stays": len(outcome.stays),
        "patient_days": round(days, 2),
        "gated_patient_days": round(gated_days, 2),
        "records": len(outcome.records),
        "alerts": [
            {"syndrome": syndrome, "severity": severity, "state": state, "count": count}
            for (syndrome, severity, state), count in sorted(alerts.items())
        ],
        "alerts_by_severity": by_severity,
        "alerts_per_100_patient_days": {word: _per_100(n, days) for word, n in by_severity.items()},
        "alerts_per_100_gated_patient_days": {word: _per_100(n, gated_days) for word, n in by_severity.items()},
        "rejected": _nested(outcome.rejected),
        "skipped": {SKIPPED: outcome.skipped} if outcome.skipped else {},
        "skipped_patients": outcome.skipped_patients,
        **{name: _nested(counts) for name, counts in _by_metric(outcome.counts).items()},
        "rows": rows,
        "rows_per_second": round(rows / seconds, 1),
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(_peak_memory() / 1e6, 1),
        "plan_digest": plan.digest,
        "rules_version": plan.rules_version,
        "versions": {"itbwatch": version("itbwatch"), "python": platform.python_version(), "polars": pl.__version__},
    }


def check_output(out: Path) -> None:
    """Refuse, before any work, a folder that a replay may not replace.

    Raises:
        ConfigError: ``out`` is a file, or holds something other than an earlier replay.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError([f"{out}: is a file; expected a folder for the results, --out DIR"])
    ours = {ALERTS, SUMMARY, REPORT, SHADOW, *EXPORTS.values()}
    found = [*(path for path in out.glob("*") if path != out / PAGES), *(out / PAGES).glob("*")]
    others = sorted(str(path.relative_to(out)) for path in found if not _is_ours(path, out, ours))
    if others:
        raise ConfigError([f"{out}: holds {others[0]!r}; expected a new folder or an earlier replay's, --out DIR"])


def write(
    out: Path,
    records: Sequence[AlertRecord],
    summary: Mapping[str, Any],
    report: str,
    exports: Mapping[str, Export] | None = None,
    shadow: Sequence[AlertRecord] | None = None,
    pages: Iterable[tuple[str, str]] = (),
) -> None:
    """Write all files beside ``out`` and move them there as one folder; a failure leaves nothing behind.

    ``pages`` are (file name, HTML) and come one at a time: together they may be larger than memory. ``exports`` are written to the files of their names in ``EXPORTS``, the records of ``shadow`` to ``SHADOW``.
    """
    out = out.absolute()
    part, old = (out.with_name(f".{out.name}.{what}-{os.getpid()}") for what in ("part", "old"))
    try:
        part.mkdir(mode=0o700, parents=True)  # of patients: readable by nobody else while it is written, nor afterwards
        alerts_table(records).write_parquet(part / ALERTS)
        if shadow is not None:
            alerts_table(shadow).write_parquet(part / SHADOW)
        (part / SUMMARY).write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
        (part / REPORT).write_text(report, encoding="utf-8")
        for name, html in pages:
            (part / PAGES).mkdir(exist_ok=True)
            (part / PAGES / name).write_text(html, encoding="utf-8")
        for name, export in (exports or {}).items():
            with (part / EXPORTS[name]).open("wb") as file:
                file.writelines(line + b"\n" for record in records for line in export(record))
        for path in part.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        if out.exists():
            out.rename(old)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _is_ours(path: Path, out: Path, names: Container[str]) -> bool:
    """Whether a replay wrote it: one of its files, or a page under a pseudonym."""
    if path.parent == out:
        return path.name in names
    return path.parent == out / PAGES and _PAGE.fullmatch(path.name) is not None


def _per_100(count: int, days: float) -> float | None:
    return round(100 * count / days, 3) if days else None


def _by_metric(counts: Counter[tuple[str, ...]]) -> dict[str, Counter[tuple[str, ...]]]:
    metrics: dict[str, Counter[tuple[str, ...]]] = {}
    for (metric, *labels), count in sorted(counts.items()):
        metrics.setdefault(metric.removesuffix("_total"), Counter())[tuple(labels)] += count
    return metrics


def _nested(counts: Mapping[Any, int]) -> dict[str, Any]:
    """{("a", "b"): 1} as {"a": {"b": 1}}, keys in order."""
    tree: dict[str, Any] = {}
    for (*path, leaf), count in sorted(counts.items()):
        branch = tree
        for name in path:
            branch = branch.setdefault(name, {})
        branch[leaf] = branch.get(leaf, 0) + count
    return tree


def _peak_memory() -> int:
    """Bytes at the highest point of the largest of this process and its finished workers."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss counts bytes on macOS, kibibytes elsewhere
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
