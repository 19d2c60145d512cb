"""The tables of a deployment's database."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

SCHEMA = 4
TICK = ":tick"
"""The position row of a partition that holds its last tick. No topic can have this name."""

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER keys count up by themselves in SQLite
TABLES = sa.MetaData()


class Foreign(sa.TypeDecorator[str]):
    """A text from outside. NUL, which PostgreSQL cannot hold, is kept as its picture (U+2400) in every database."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        return None if value is None else value.replace("\0", "\u2400")


def _table(name: str, *columns: Any) -> sa.Table:
    return sa.Table(name, TABLES, *columns)


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, **({"nullable": False} | options))


meta = _table("meta", _column("name", sa.Text, primary_key=True), _column("value", sa.Text))


def _patients(name: str) -> sa.Table:
    """The head of each patient; ``resting`` = nothing is due for it: it is loaded with its next event."""
    return _table(
        name,
        _column("patient_id", sa.Text, primary_key=True),
        _column("partition", sa.Integer),
        _column("resting", sa.Boolean),
        _column("head", sa.LargeBinary),
        sa.Index(f"{name}_awake", "partition", "resting"),
    )


def _segments(name: str) -> sa.Table:
    """The readings of each patient, append-only."""
    return _table(
        name,
        _column("patient_id", sa.Text, primary_key=True),
        _column("number", sa.Integer, primary_key=True),
        _column("payload", sa.LargeBinary),
    )


patients, segments = _patients("patients"), _segments("segments")
alerts = _table(
    "alerts",
    _column("alert_id", sa.Text, primary_key=True),
    _column("sequence", sa.Integer, primary_key=True),
    _column("patient_id", sa.Text, index=True),
    _column("syndrome", sa.Text),
    _column("severity", sa.Text),
    _column("state", sa.Text),
    _column("at", sa.Text, index=True),
    _column("record", sa.LargeBinary),
)
outbox = _table(
    "outbox",
    _column("id", _ID, primary_key=True),
    _column("partition", sa.Integer),
    _column("topic", sa.Text),
    _column("key", sa.LargeBinary, nullable=True),
    _column("payload", sa.LargeBinary),
    _column("timestamp", sa.BigInteger),
    _column("published", sa.Boolean, index=True),
    _column("refused", Foreign, nullable=True),  # the error of a broker that will never take it: the row is parked
    _column("stored_at", sa.BigInteger),
)
positions = _table(
    "positions",
    _column("topic", sa.Text, primary_key=True),
    _column("partition", sa.Integer, primary_key=True),
    _column("next_offset", sa.BigInteger),
)
deadletters = _table(
    "deadletters",
    _column("id", _ID, primary_key=True),
    _column("topic", sa.Text),
    _column("partition", sa.Integer),
    _column("offset", sa.BigInteger),
    _column("reason", sa.Text),
    _column("timestamp", sa.BigInteger, nullable=True),
    _column("key", sa.LargeBinary, nullable=True),
    _column("value", sa.LargeBinary, nullable=True),
    _column("whole_bytes", sa.BigInteger, nullable=True),
    _column("redriven", sa.Boolean),
    _column("stored_at", sa.BigInteger),
)
unmapped = _table(
    "unmapped",
    *(_column(name, Foreign, primary_key=True) for name in ("topic", "reason", "signal", "code", "unit")),
    _column("results", sa.BigInteger),
    _column("first_at", sa.BigInteger),
    _column("last_at", sa.BigInteger),
)
"""Codes and units that were not known, by spelling (``pipelines.store.spellings``)."""

labels = _table(
    "labels",
    _column("id", _ID, primary_key=True),
    _column("alert_id", sa.Text, index=True),
    _column("action", sa.Text),
    _column("reason", Foreign),
    _column("by", Foreign),
    _column("at", sa.Text),
)
model_events = _table(
    "model_events",
    _column("id", _ID, primary_key=True),
    _column("partition", sa.Integer, index=True),
    _column("model", sa.Text),
    _column("event", sa.Text),
    _column("after", sa.BigInteger),
    _column("reason", Foreign),
    _column("artefact", sa.Text),
    _column("stored_at", sa.BigInteger),
)
"""When models were kept out and taken back (``pipelines.outages``)."""

shadow_runs = _table(
    "shadow_runs",
    _column("partition", sa.Integer, primary_key=True),
    _column("generation", sa.BigInteger),
    _column("since", sa.BigInteger),
    _column("champion", sa.Text),
    _column("challenger", sa.Text),
    _column("positions", sa.Text),
)
"""The challenger of each partition number, and the positions at which its patients stand (``pipelines.shadow``)."""

shadow_patients, shadow_segments = _patients("shadow_patients"), _segments("shadow_segments")
shadow_alerts = _table(
    "shadow_alerts",
    _column("id", _ID, primary_key=True),
    _column("partition", sa.Integer),
    _column("generation", sa.BigInteger),
    _column("record", sa.LargeBinary),
)
"""What the challenger would have let out."""

drift = _table(
    "drift",
    _column("partition", sa.Integer, primary_key=True),
    _column("signal", sa.Text, primary_key=True),
    _column("since", sa.BigInteger),
    _column("seen", sa.BigInteger),
)
"""Since when a signal has been unlike the reference, and when that was seen last (``pipelines.drift``)."""

audit = _table(
    "audit",
    _column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    _column("at", sa.BigInteger),
    _column("event", sa.Text),
    _column("detail", sa.Text),
    _column("previous", sa.Text),
    _column("hash", sa.Text),
)
"""What was done to the deployment, each record chained to the one before (``pipelines.store.audit``)."""

for _word in ("update", "delete"):
    _refuse = f"create trigger audit_no_{_word} before {_word} on audit begin select raise(abort, 'audit is append-only'); end"
    _ddl = sa.DDL(_refuse)  # type: ignore[no-untyped-call]
    sa.event.listen(audit, "after_create", _ddl.execute_if(dialect="sqlite"))

journal = _table(
    "journal",
    _column("id", _ID, primary_key=True),
    _column("patient_id", sa.Text, index=True),
    _column("payload", sa.LargeBinary),
    _column("stored_at", sa.BigInteger, index=True),
)
"""What each patient's events were, with the ticks between them, as canonical NDJSON: ``explain`` runs it again."""
