"""The peers: what is used elsewhere, on the same rows of the same stays, so that the product can be seen to lose.

A peer learns from rows (``picture``) of training stays and gives every row a score, higher = worse, null =
indeterminate. Peers that learn are cross-fitted by person: no stay is scored by what its own person taught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from pipelines.evaluation.peers.boosting import GradientBoosting, OrdersAlone
from pipelines.evaluation.peers.early_warning import NEWS2, SIRS
from pipelines.evaluation.peers.half_space import HalfSpaceTrees
from pipelines.evaluation.peers.isolation import IsolationForest
from pipelines.evaluation.peers.single import ALARMS, AnyAlarm, SingleAlarm
from pipelines.evaluation.truth import Ints, Mask, Stays

FOLDS = 3
MOST_ROWS = 150_000
"""Rows a peer learns from; beyond this more rows changed no figure that was looked at, and took minutes."""


class Peer(Protocol):
    """One way to score rows. ``background_only`` = it learns from background stays and never sees a course."""

    name: str
    learns: bool
    background_only: bool

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:
        """Learn from ``rows``; ``course`` says which of them lie inside the visible course of a withdrawal."""

    def score(self, rows: pl.DataFrame) -> pl.Series:
        """Float64, one element a row; null = indeterminate."""


def all_peers() -> list[Peer]:
    """Every peer, untaught."""
    return [
        NEWS2(), SIRS(), *(SingleAlarm(*alarm) for alarm in ALARMS), AnyAlarm(), HalfSpaceTrees(), IsolationForest(),
        GradientBoosting(), OrdersAlone(),
    ]  # fmt: skip


def scores_of(
    peers: Iterable[Peer], rows: pl.DataFrame, stays: Stays, *, seed: int, progress: Callable[[str], object] = str
) -> dict[str, pl.DataFrame]:
    """A frame of ``stay_id``, ``at`` (ms), ``score`` for each peer, by its name; ``progress`` is told each name.

    Rows of stays that the truth does not name are left out.
    """
    rows = rows.filter(pl.col("stay_id").is_in(list(stays.rows)))
    row_of = rows["stay_id"].replace_strict(stays.rows, return_dtype=pl.Int64).to_numpy()
    fold = folds(stays, seed)[row_of]
    at = rows["at"].to_numpy()
    course = stays.course[row_of] & (at >= stays.visible[row_of]) & (at <= stays.closes[row_of])
    background = stays.background[row_of]
    scored = {}
    for peer in peers:
        if peer.learns:
            values = pl.Series("score", [None] * len(rows), dtype=pl.Float64)
            for number in range(FOLDS):
                own = fold == number
                if not own.any():
                    continue
                taught = ~own & background if peer.background_only else ~own
                chosen = _sample(np.flatnonzero(taught), course, seed)
                # One thread: on a busy machine threads that wait for each other took five times as long.
                with threadpool_limits(1):
                    peer.fit(rows[chosen], course[chosen], seed)
                    values = values.scatter(np.flatnonzero(own), peer.score(rows.filter(own)))
        else:
            values = peer.score(rows)
        scored[peer.name] = rows.select("stay_id", "at").with_columns(values.cast(pl.Float64).alias("score"))
        progress(peer.name)
    return scored


def folds(stays: Stays, seed: int) -> Ints:
    """The fold of each stay: whole people, shuffled by ``seed``."""
    people = int(stays.person.max()) + 1 if len(stays) else 0
    order = np.random.default_rng(seed).permutation(people)
    by_person: Ints = order.astype(np.int64) % FOLDS
    return by_person[stays.person]


def _sample(rows: Ints, course: Mask, seed: int) -> Ints:
    """At most ``MOST_ROWS`` of ``rows``; those inside a course are kept as far as they fill half of it."""
    if len(rows) <= MOST_ROWS:
        return rows
    rng = np.random.default_rng(seed)
    inside, outside = rows[course[rows]], rows[~course[rows]]
    inside = rng.permutation(inside)[: MOST_ROWS // 2]
    outside = rng.permutation(outside)[: MOST_ROWS - len(inside)]
    return np.sort(np.concatenate([inside, outside]))
