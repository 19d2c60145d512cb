"""Faults under load, round by round, on a real broker and a real store.

A round is a ward of its own with topics and a store of its own. Before each fault a part of it is sent, and every partition
number has been committed since the last fault, as far as anything was there to read; after it, the next part must be
committed too. At the end of the round everything that is due is in the store once, and on the topic.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

from tests.postgresql.cluster import Cluster
from tests.torture.deployment import Deployment, Stuck
from tests.torture.oracle import Difference
from tests.torture.results import Results, Row

A_ROUND = 25
LATEST_S = 1.0
"""A fault comes at a random moment up to this long after the commit that was waited for."""


class Scene(Protocol):
    """What a part of the campaign sets up, and does."""

    store: str
    workers: int
    running: int
    """How many of the workers run when a round begins."""

    def open(self, folder: Path, open_now: ExitStack) -> str:
        """Start what all rounds share; returns the address of the broker."""

    def settings(self, folder: Path, seed: int) -> dict[str, Any]:
        """Of the deployment of a round."""

    def fault(self, made: Deployment, rng: random.Random) -> str:
        """Do something, and take it back where it does not pass by itself; returns what it was."""


Make = Callable[[argparse.Namespace], tuple[Scene, str, str, str]]
"""The scene, the name of its row, what it promises, what it injects."""


def part(make: Make, option: str) -> Callable[[Results, argparse.Namespace], tuple[Row, int, Iterator[None]]]:
    """So many more faults as ``option`` says; the seed of a round is the number of its first fault."""

    def made(results: Results, chosen: argparse.Namespace) -> tuple[Row, int, Iterator[None]]:
        scene, *names = make(chosen)
        row, count = results.row(*names), getattr(chosen, option)
        return row, count, _go(row, scene, count)

    return made


def _go(row: Row, scene: Scene, faults: int) -> Iterator[None]:
    with ExitStack() as open_now:
        folder = Path(open_now.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        bootstrap = scene.open(folder, open_now)
        done = 0
        while done < faults:
            seed, count = row.resume, min(A_ROUND, faults - done)
            rng = random.Random(f"{row.part}-{seed}")
            home = folder / f"{seed}"
            with closing(Deployment(
                bootstrap, home, seed=seed, parts=2 * count + 2, workers=scene.workers, **scene.settings(home, seed)
            )) as made:  # fmt: skip
                try:
                    for _ in _round(row, scene, made, rng, count):
                        done += 1
                        yield
                except Stuck as error:
                    done += 1
                    row.add(Difference(), f"round {seed}: {error}", *made.last_words())
                _judge(row, made, seed)
            row.resume = seed + count


def _round(row: Row, scene: Scene, made: Deployment, rng: random.Random, count: int) -> Iterator[None]:
    for worker in made.workers[: scene.running]:
        worker.start()
    made.send()
    made.moved(Counter())
    for _ in range(count):
        time.sleep(rng.uniform(0, LATEST_S))
        made.send()
        before = made.position()
        row.by_kind[scene.fault(made, rng)] += 1
        row.times += 1
        began = time.monotonic()
        made.send()
        made.moved(before)
        row.took(time.monotonic() - began)
        yield
    made.finish()
    made.stop()


def _judge(row: Row, made: Deployment, seed: int) -> None:
    """Compare what the round left with what is due."""
    difference, apart = made.difference()
    row.add(difference, *([] if difference == Difference() else [f"round {seed}: {difference}"]), *made.odd)
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
