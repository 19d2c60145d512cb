"""Drugs and procedures become context: what touches is one, a start is known when stored, a stop not before it happened."""

from typing import Any

import polars as pl

from detector.clock import HOUR, MINUTE
from pipelines.collecting.treatments import running

SCHEMA: dict[str, Any] = {
    "row": pl.Int64, "patient_id": pl.String, "stay_id": pl.String, "kind": pl.String, "start": pl.Int64,
    "end": pl.Int64, "stored": pl.Int64, "detail": pl.String,
}  # fmt: skip


def events(*rows: tuple[str, int, int | None, int | None]) -> list[tuple[str, str, int, int]]:
    """(kind, start, end, stored) in hours -> (kind, event, at, available_at) in hours."""
    ms = [None if value is None else value * HOUR for row in rows for value in row[1:]]
    table = pl.DataFrame(
        [(n, "p", "s", row[0], *ms[3 * n : 3 * n + 3], row[0]) for n, row in enumerate(rows)],
        schema=SCHEMA,
        orient="row",
    )
    made = running(table).sort("at", "event")
    return [(kind, event, at // HOUR, known // HOUR) for kind, event, at, known in made.select("kind", "event", "at", "available_at").rows()]  # fmt: skip


def test_an_infusion_whose_rate_was_changed_is_one_that_was_not_stopped() -> None:
    assert [("vasopressor", "started", 1, 1), ("vasopressor", "stopped", 5, 5)] == events(
        ("vasopressor", 1, 2, 1), ("vasopressor", 2, 4, 2), ("vasopressor", 3, 5, 3)
    )


def test_a_gap_is_a_stop_and_other_kinds_are_their_own() -> None:
    made = events(("vasopressor", 1, 2, 1), ("vasopressor", 4, 5, 4), ("sedation", 1, 5, 1))

    assert 2 == sum(event == "stopped" and kind == "vasopressor" for kind, event, *_ in made)
    assert [("sedation", "started", 1, 1), ("sedation", "stopped", 5, 5)] == [
        one for one in made if one[0] == "sedation"
    ]


def test_nothing_is_known_before_it_was_stored_and_no_stop_before_it_happened() -> None:
    assert [("sedation", "started", 1, 3), ("sedation", "stopped", 2, 3)] == events(("sedation", 1, 2, 3))
    assert [("sedation", "started", 1, 1), ("sedation", "stopped", 9, 9)] == events(("sedation", 1, 9, None))


def test_what_has_no_end_is_not_stopped() -> None:
    assert [("sedation", "started", 1, 1)] == events(("sedation", 1, None, 1), ("sedation", 2, 3, 2))


def test_patients_do_not_share_an_infusion() -> None:
    rows = [(0, "p", "s", "sedation", 0, HOUR, 0, "x"), (1, "q", "t", "sedation", HOUR + MINUTE, 2 * HOUR, 0, "x")]

    assert 4 == len(running(pl.DataFrame(rows, schema=SCHEMA, orient="row")))
    assert not len(running(pl.DataFrame(schema=SCHEMA)))
