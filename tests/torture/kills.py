"""SIGKILL of workers at random moments under load, on a real broker and a real store.

A round is a ward of its own with topics and a store of its own: before each kill a part of it is sent, and the store has
moved on since the last one. At the end of the round everything that is due is in the store once, and on the topic.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from tests.kafka.broker import Broker
from tests.postgresql.cluster import Cluster
from tests.torture.deployment import Deployment, Stuck
from tests.torture.oracle import Difference
from tests.torture.results import Results, Row

A_ROUND = 25
LATEST_S = 1.0
"""A kill comes at a random moment up to this long after the store has moved."""
WORKERS = {"sqlite": 1, "postgresql": 2}


def part(results: Results, chosen: argparse.Namespace) -> tuple[Row, int, Iterator[None]]:
    """So many more kills; the seed of a round is the number of its first kill."""
    store, workers = chosen.store, WORKERS[chosen.store]
    many = "worker" if workers == 1 else f"{workers} workers"
    row = results.row(f"kills {store}", "0 lost, 0 doubled in the store", f"SIGKILL under load, {many}")
    return row, chosen.kills, _go(row, store, chosen.kills)


def _go(row: Row, store: str, kills: int) -> Iterator[None]:
    with ExitStack() as open_now:
        folder = Path(open_now.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        broker = open_now.enter_context(Broker())
        cluster = open_now.enter_context(Cluster()) if store == "postgresql" else None
        done = 0
        while done < kills:
            seed, count = row.resume, min(A_ROUND, kills - done)
            rng = random.Random(f"kills-{store}-{seed}")
            where = store_options(folder / f"{seed}", cluster)
            with closing(Deployment(
                broker.bootstrap, folder / f"{seed}", seed=seed, parts=count + 1, workers=WORKERS[store], store=where,
            )) as made:  # fmt: skip
                try:
                    for _ in _round(row, made, rng, count):
                        done += 1
                        yield
                except Stuck as error:
                    row.add(Difference(), f"round {seed}: {error}; log: {made.site.folder}")
                judge(row, made, seed)
            row.resume = seed + count


def _round(row: Row, made: Deployment, rng: random.Random, count: int) -> Iterator[None]:
    for worker in made.workers:
        worker.start()
    made.send()
    made.moved(Counter())
    for _ in range(count):
        time.sleep(rng.uniform(0, LATEST_S))
        worker, before = rng.choice(made.workers), made.position()
        worker.kill()
        killed = time.monotonic()
        worker.start()
        row.times += 1
        made.send()
        made.moved(before)
        row.took(time.monotonic() - killed)
        yield
    made.finish()
    row.add(Difference(), *made.stop())


def judge(row: Row, made: Deployment, seed: int) -> None:
    """Compare what the round left with what is due."""
    difference, apart = made.difference()
    row.add(difference, *([] if difference == Difference() else [f"round {seed}: {difference}"]))
    row.checked += len(made.due)
    row.by_kind += apart
    row.by_kind.update({f"ended by itself with {status}": times for status, times in made.ended.items()})


def store_options(folder: Path, cluster: Cluster | None) -> dict[str, Any]:
    """The settings `store` of a new store."""
    if cluster is None:
        return {"path": str(folder / "store.sqlite")}
    file = folder.parent / f"{folder.name}.url"
    file.touch(0o600)
    file.write_text(cluster.address(cluster.database()) + "\n")
    return {"url_file": str(file)}
