"""Schedules of deliver, duplicate, delay, crash and rebalance in one process, made from a seed and played to the end.

Up to three workers run the real service, the real merge of topics and the real store code (one SQLite in memory, so that
transactions never overlap: that they may is tried on a real PostgreSQL). Between any two steps a worker may die, come,
go or fall asleep; while it loads a number, before and after a commit, and before and after the mark that follows publishing,
it may die too, or the database may break the connection so that nobody knows what became of the transaction.
"""

from __future__ import annotations

import argparse
import gc
import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from detector.errors import StateError
from detector.plan import Plan
from pipelines.errors import NoProgress, StoreOutage
from pipelines.plan_files import load_plan
from pipelines.service import Service
from pipelines.settings import Settings
from pipelines.store import Fenced, Store, StoredPartition, Work
from pipelines.store.listening import Patience
from tests.pipelines.in_process import Unheard
from tests.torture.courses import Course, course
from tests.torture.oracle import Difference, expected, published, stored
from tests.torture.results import Results, Row
from tests.torture.simulated_kafka import Consumer, Group, Log, Publisher, Source

WORKERS = 3
MOST_STEPS = 600
"""A schedule that is not over by then, long after its faults have ended, hangs."""
SETTINGS = Settings.model_validate({"time": "stream", "poll": {"max_records": 3, "timeout_ms": 1}})


LOADING = 0.1
"""Numbers are loaded more often than anything is committed."""
TICKED = b'"type":"tick"'


class Crashed(BaseException):
    """The process is gone: nothing of it may catch this."""


class Faults:
    """What may go wrong inside a step; ``left`` counts down, and at 0 nothing does any more."""

    def __init__(self, rng: random.Random, seen: Counter[str]) -> None:
        self._rng, self._seen = rng, seen
        self.left = rng.randint(0, 12)
        self.often = rng.choice((0.02, 0.1, 0.25))

    def hits(self, what: str, share: float = 1.0) -> bool:
        """Whether it happens now; ``share`` is less where there are many chances."""
        if self.left <= 0 or self._rng.random() >= self.often * share:
            return False
        self.left -= 1
        self._seen[what] += 1
        return True

    def at(self, place: str, share: float = 1.0) -> None:
        if self.hits(f"crash {place}", share):
            raise Crashed(place)
        if self.hits(f"connection cut {place}", share):
            raise StoreOutage(f"cut {place}")


class SimulatedStore(Store):
    """The store of one worker on the common database; ``seen`` counts the commits that were refused."""

    def __init__(self, engine: sa.Engine, faults: Faults, seen: Counter[str]) -> None:
        self.name = "simulated"
        self._engine, self._lock, self._patience = engine, None, Patience()
        self._journal_days, self._pruned_at = 14, 1 << 62
        self._faults, self._seen = faults, seen

    def load(self, partition: int) -> StoredPartition:
        self._faults.at("before a number is loaded", LOADING)
        return super().load(partition)

    def newest(self, alert_ids: Sequence[str]) -> list[bytes]:
        self._faults.at("while a number is loaded", LOADING)
        return super().newest(alert_ids)

    def commit(self, works: Sequence[Work]) -> None:
        self._faults.at("before a commit")
        try:
            super().commit(works)
        except Fenced:
            self._seen["(refused a stale commit)"] += 1
            raise
        if works:
            self._faults.at("after a commit")

    def mark_published(self, ids: Sequence[int]) -> None:
        if ids:
            self._faults.at("before the mark")
        super().mark_published(ids)
        if ids:
            self._faults.at("after the mark")

    def close(self) -> None:
        pass


class Database:
    """One SQLite in memory that begins empty again for every schedule."""

    def __init__(self) -> None:
        self._raw = sqlite3.connect(":memory:")
        self.engine = sa.create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool)
        SimulatedStore(self.engine, Faults(random.Random(0), Counter()), Counter())._make_tables()
        self._empty = self._raw.serialize()

    def begin(self) -> sa.Engine:
        self._raw.deserialize(self._empty)
        return self.engine

    def ask(self, query: str) -> list[Any]:
        return self._raw.execute(query).fetchall()

    def close(self) -> None:
        self.engine.dispose()
        self._raw.close()


@dataclass
class Played:
    """What came of a schedule. ``injected`` counts what was done to it."""

    seed: int
    records: int
    difference: Difference
    injected: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.difference == Difference() and not self.odd


class Schedule:
    """One seed."""

    def __init__(self, plan: Plan, database: Database, seed: int) -> None:
        self._plan, self._seed = plan, seed
        self._rng = random.Random(f"schedule-{seed}")
        self._course: Course = course(seed)
        self._database = database
        self._engine = database.begin()
        self._log = Log(SETTINGS.kafka.topics.model_dump(), self._course.log)
        self._group = Group(self._rng)
        self._injected: Counter[str] = Counter()
        self._faults = Faults(self._rng, self._injected)
        self._slow = self._rng.choice((0.0, 0.3, 0.7))
        self._fails = self._rng.choice((0.0, 0.1, 0.4))
        self._workers: list[Service] = []
        self._next: list[Service] = []  # who is to step, the last one first; nobody = whoever

    def play(self) -> Played:
        """To the end of every topic, with the outbox empty."""
        for _ in range(self._rng.randint(1, WORKERS)):
            self._start()
        steps = 0
        while not self._over() and steps < MOST_STEPS:
            steps += 1
            self._between()
            while self._next and self._next[-1] not in self._workers:
                self._next.pop()
            self._step(self._next.pop() if self._next else self._rng.choice(self._workers))
        odd = [] if steps < MOST_STEPS else [f"not over after {MOST_STEPS} steps"]
        due = expected(self._plan, self._course.events, self._course.end)
        found = [record for (record,) in self._database.ask("select record from alerts")]
        difference = stored(due, found) + published(due, self._log.alerts)
        ((letters,),) = self._database.ask("select count(*) from deadletters")
        if letters != self._course.refused:
            odd.append(f"{letters} dead letters of {self._course.refused}")
        journal = b"".join(payload for (payload,) in self._database.ask("select payload from journal"))
        read = len(journal.splitlines()) - journal.count(TICKED)
        if read != self._course.taken:
            odd.append(f"{read} events folded of {self._course.taken}")
        return Played(self._seed, len(due), difference, self._injected, odd)

    def _start(self) -> None:
        consumer = Consumer(self._log, self._group, self._rng, slow=self._slow)
        connect: Callable[[Any], Source] = lambda owner: Source(SETTINGS, owner, consumer)  # noqa: E731
        worker = Service(
            SETTINGS, self._plan, {}, SimulatedStore(self._engine, self._faults, self._injected),
            Publisher(self._log, self._rng, fails=self._fails), Unheard(), Unheard(), connect,
        )  # fmt: skip
        worker._outages.ask_again_s = 0.0  # the database is back at once
        self._workers.append(worker)

    def _between(self) -> None:
        """What happens to the group between two steps."""
        quiet = self._faults.left <= 0
        if quiet:  # from here on every worker hears, and every send arrives
            for one in self._workers:
                one._source._consumer.deaf, one._source._consumer.slow, one._publisher.fails = 0, 0.0, 0.0
        elif self._faults.hits("rebalance"):
            self._group.rebalance()
        elif len(self._workers) < WORKERS and self._faults.hits("join"):
            self._start()
        elif len(self._workers) > 1 and self._faults.hits("zombie"):
            zombie, heir = self._rng.sample(self._workers, 2)
            zombie._source._consumer.deaf = self._rng.randint(2, 20)
            self._group.rebalance(without=zombie._source._consumer)
            self._next = [zombie, heir] * self._rng.randint(1, 3) + [heir] * self._rng.randint(1, 3)
        elif len(self._workers) > 1 and self._faults.hits("leave"):
            self._end(self._rng.choice(self._workers))
        elif self._faults.hits("crash between steps"):
            self._die(self._rng.choice(self._workers))

    def _step(self, worker: Service) -> None:
        try:
            worker.step()
        except Crashed:
            self._die(worker)
        except (NoProgress, StateError, StoreOutage) as error:  # it ends by itself, and is started again
            self._injected[f"ended by itself: {type(error).__name__}"] += 1
            self._die(worker)

    def _end(self, worker: Service) -> None:
        self._workers.remove(worker)
        worker._source.close()

    def _die(self, worker: Service) -> None:
        self._workers.remove(worker)
        with suppress(ValueError):
            self._group.leave(worker._source._consumer)
        if not self._workers:
            self._start()

    def _over(self) -> bool:
        if self._faults.left > 0 and self._rng.random() < 0.05:
            self._faults.left -= 1  # it must end, whatever is left
        if self._database.ask("select 1 from outbox where not published limit 1"):
            return False
        reached = {
            tuple(one): at for *one, at in self._database.ask("select topic, partition, next_offset from positions")
        }
        return all(reached.get(where, 0) == end for where, end in self._log.ends().items())


def part(results: Results, chosen: argparse.Namespace) -> tuple[Row, int, Iterator[None]]:
    """As many more seeds as are asked for. ``times`` counts schedules; each is a service or several to its end."""
    row = results.row(
        "schedules", "the same alerts as without faults, once each",
        "simulated: deliver, duplicate, delay, crash, cut, rebalance",
    )  # fmt: skip
    return row, chosen.schedules, _play(row, range(row.resume, row.resume + chosen.schedules))


def _play(row: Row, seeds: Sequence[int]) -> Iterator[None]:
    plan = load_plan(SETTINGS)
    gc.freeze()
    logging.disable(logging.CRITICAL)  # every fault logs; what is judged is what was stored and sent
    try:
        with closing(Database()) as database:
            for seed in seeds:
                played = Schedule(plan, database, seed).play()
                row.times, row.checked, row.resume = row.times + 1, row.checked + played.records, seed + 1
                row.by_kind += played.injected
                row.add(
                    played.difference, *(() if played.good else (f"seed {seed}: {played.difference} {played.odd}",))
                )
                yield
    finally:
        logging.disable(logging.NOTSET)
        gc.unfreeze()
