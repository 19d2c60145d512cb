"""A deployment under load: a real broker, a store, workers as processes, and a producer that sends a simulated ward bit by
bit. Positions are read from the store, and so is what there is to judge.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from kafka import KafkaProducer
from msgspec.structs import replace

from detector.clock import minute_ceil
from detector.events import PatientEvent, Ticked, TimeMoved
from pipelines.dataset import RANK
from pipelines.errors import StoreError
from pipelines.formats.canonical import KINDS, decode_journal, encode
from pipelines.plan_files import load_plan
from pipelines.settings import Store as StoreSettings
from pipelines.simulate import PUMP_COURSES, Bed, events
from pipelines.store import Store
from pipelines.store.tables import outbox, positions
from tests.kafka.broker import DIE_WITH_PARENT, create_topics
from tests.pipelines.live import Site, itbwatch
from tests.torture.courses import ROLE, STAYS_CLOSE_AFTER
from tests.torture.oracle import Difference, Key, Record, expected, published, stored

START = 1_900_022_400_000
BEDS, HOURS = 16, 24
PARTITIONS = 4
WITHIN_S = 120.0
STOPS_WITHIN_S = 12.0  # 10 s are promised, and a busy machine is not a bug
"""Whatever the fault, work goes on by then."""


class Stuck(Exception):
    """Nothing moves though there is work and nothing is broken any more."""


def ward(seed: int, parts: int) -> list[PatientEvent]:
    """A day of a simulated ward in which every bed has a pump, in the one order; few beds where there are few parts."""
    beds = [
        Bed(number, pump=True, course=PUMP_COURSES[number % 4], arrives_h=number * 7 % 11 / 10, onset_h=2 + number % 5)
        for number in range(1, min(BEDS, parts) + 1)
    ]
    return events(beds, START, HOURS, seed)


class Worker:
    """One process of the service. ``before`` are words of a program that starts it."""

    def __init__(self, site: Site, before: Sequence[str] = ()) -> None:
        self.site = site
        self._before = before
        self._log: IO[bytes] = site.log.open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [*DIE_WITH_PARENT, *self._before, *itbwatch("stream", "--config", self.site.config)]
        self.process = subprocess.Popen(words, stderr=self._log)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(15)
        finally:
            self.kill()

    def ended(self) -> int | None:
        """The exit status of one that ended by itself."""
        return None if self.process is None else self.process.poll()

    def said(self, lines: int = 1) -> str:
        """The end of its log."""
        return "\n".join(self.site.log.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        self.kill()
        self._log.close()


class Deployment:
    """Topics, store and workers of one round. ``parts`` is the number of parts the ward is sent in; ``kafka`` are settings
    of that name for the workers; ``judged`` is how we reach the store, where the workers reach it by another way;
    ``before`` starts the workers.
    """

    def __init__(
        self, bootstrap: str, folder: Path, *, seed: int, parts: int, workers: int, kafka: dict[str, Any] | None = None,
        judged: dict[str, Any] | None = None, before: Sequence[str] = (), **options: Any,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True)
        self.site = Site(
            bootstrap,
            f"round-{seed}-",
            folder,
            poll={"max_records": 25},
            models={"enabled": False},
            logging={"level": "warning"},
            **options,
        )
        create_topics(bootstrap, dict.fromkeys(self.site.settings.kafka.topics.model_dump().values(), PARTITIONS))
        self._judged = StoreSettings(**judged) if judged is not None else self.site.settings.store
        happened = self._happened = ward(seed, parts)
        self._end = minute_ceil(happened[-1].available_at + STAYS_CLOSE_AFTER) + 1
        size = -(-len(happened) // parts)
        self._parts = [happened[start : start + size] for start in range(0, len(happened), size)]
        plan = load_plan(self.site.settings)
        self.due: dict[Key, Record] = expected(plan, happened, self._end)
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, delivery_timeout_ms=120_000)
        self.workers = [Worker(self._another(f"w{number}", kafka or {}), before) for number in range(workers)]
        self.odd: list[str] = []
        self._sent: deque[Any] = deque()
        self._known: dict[tuple[str, int], int] = {}
        self.ended: Counter[str] = Counter()
        self._store: Store | None = None
        self._answered = False

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self._producer.close(timeout=5)
        if self._store is not None:
            self._store.close()

    def send(self) -> None:
        """The next part of the ward, as its records became known."""
        for event in self._parts.pop(0) if self._parts else ():
            where, key = self.site.prefix + ROLE[type(event)], event.patient_id.encode()
            self._sent.append(self._producer.send(where, encode(event), key, timestamp_ms=event.available_at))

    def position(self) -> Counter[int]:
        """How many records of each partition number the store has moved past."""
        here = Counter[int]()
        for (_, number), offset in self._positions().items():
            here[number] += offset
        return here

    def moved(self, since: Counter[int]) -> None:
        """Wait until the store has moved on in every partition number, as far as anything is there to read."""

        def has_moved() -> bool:
            here, at = self._positions(), self.position()
            behind = {number for (topic, number), end in self._ends().items() if here.get((topic, number), 0) < end}
            return all(at[number] > since[number] or number not in behind for number in range(PARTITIONS))

        self.until(has_moved, "the position in the store does not move")

    def until(self, holds: Callable[[], bool], otherwise: str, within_s: float = WITHIN_S) -> None:
        """Wait, and start again whoever ended by itself, as a supervisor does.

        Raises:
            Stuck: it does not come true.
        """
        deadline = time.monotonic() + within_s
        while not holds():
            self.restart_ended()
            if time.monotonic() > deadline:
                raise Stuck(f"{otherwise} for {within_s:.0f} s")
            time.sleep(0.05)

    def restart_ended(self) -> None:
        for worker in self.workers:
            if (status := worker.ended()) is not None:
                self.ended[f"{status}: {worker.said()}"] += 1
                worker.start()

    def finish(self) -> None:
        """Send the rest and the end of time, and wait until all is read and sent."""
        while self._parts:
            self.send()
        closing = encode(TimeMoved(at=self._end))
        for role in KINDS:
            for number in range(PARTITIONS):
                where = self.site.prefix + role
                self._sent.append(self._producer.send(where, closing, partition=number, timestamp_ms=self._end))
        self.until(self._finished, "the end of the topics is not reached", 2 * WITHIN_S)

    def leave(self, worker: Worker) -> None:
        """SIGTERM, and the promise of DESIGN.md section 5.9."""
        began = time.monotonic()
        try:
            status: int | str = worker.stop()
        except subprocess.TimeoutExpired:
            status = "SIGKILL"
        if status != 0 or time.monotonic() - began > STOPS_WITHIN_S:
            self.odd.append(f"SIGTERM: ended with {status} after {time.monotonic() - began:.1f} s")

    def stop(self) -> None:
        """SIGTERM to all."""
        for worker in self.workers:
            if worker.process is not None:
                self.leave(worker)

    def last_words(self) -> list[str]:
        """The ends of the workers' logs."""
        return [one.said(3) for one in self.workers]

    def difference(self) -> tuple[Difference, Counter[str]]:
        """What is stored and on the topic beside what is due, and how often records came again there; every event
        of every topic is folded once, and in its order. What the service says of itself (technical alerts) is counted apart.
        """
        with contextlib.closing(Store(self._judged, read_only=True)) as store:
            kept = [one for one in store.alerts(1_000_000) if not _of_itself(one)]
            folded = {one: _events(store.journal(one)) for one in store.journal_patients()}
        topic = [record.value for record in self.site.topic("alerts")]
        ours = [one for one in topic if not _of_itself(one)]
        apart = Counter({"technical records": sum(_of_itself(one) and b'"canary":true' not in one for one in topic)})
        apart["repeated on the topic"] = len(ours) - len(set(ours))
        wrong = 0
        for patient_id, mine in self._by_patient().items():
            found = folded.get(patient_id, [])
            wrong += _topic_by_topic(found) != _topic_by_topic(mine)
            apart["patients whose topics were merged in another order"] += found != mine
        there, told = stored(self.due, kept), published(self.due, ours)
        apart["records not in the store"], apart["records not on the topic"] = there.lost, told.lost
        return there + told + Difference(wrong=wrong), +apart

    def _by_patient(self) -> dict[str, list[PatientEvent]]:
        """What must have been folded, each once and in this order."""
        mine: dict[str, list[PatientEvent]] = {}
        for event in self._happened:
            mine.setdefault(event.patient_id, []).append(event)
        return mine

    def _another(self, name: str, kafka: dict[str, Any]) -> Site:
        site = self.site.another(name)
        said = json.loads(site.config.read_text())
        said["kafka"] |= kafka
        site.config.write_text(json.dumps(said))
        return site

    def _ask(self, query: sa.Select[Any]) -> list[Any]:
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                self._store = self._store or Store(self._judged, read_only=True)
                with self._store._transaction() as connection:
                    answer = list(connection.execute(query))
            except StoreError:
                if not self._answered:
                    return []  # it is not made yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                self._answered = True
                return answer

    def _positions(self) -> dict[tuple[str, int], int]:
        columns = positions.c.topic, positions.c.partition, positions.c.next_offset
        query = sa.select(*columns).where(positions.c.topic.not_like(":%"))
        return {(topic, number): offset for topic, number, offset in self._ask(query)}

    def _finished(self) -> bool:
        here = self._positions()
        if any(here.get(where, 0) < end for where, end in self._ends().items()):
            return False
        return self._ask(sa.select(sa.func.count()).where(~outbox.c.published)) == [(0,)]

    def _ends(self) -> dict[tuple[str, int], int]:
        """Behind the last record of ours in each topic; canaries go on flying behind it."""
        while self._sent:
            told = self._sent[0].get(timeout=WITHIN_S)
            self._known[told.topic, told.partition] = told.offset + 1
            self._sent.popleft()
        return self._known


def _events(journal: bytes) -> list[PatientEvent]:
    """What was folded, but for where it stood."""
    told = [decode_journal(line) for line in journal.splitlines()]
    return [replace(event, position=None) for event in told if not isinstance(event, Ticked)]


def _topic_by_topic(told: list[PatientEvent]) -> list[PatientEvent]:
    """The events of one topic after those of another; the order within each is what a topic promises, whatever fails."""
    return sorted(told, key=lambda event: RANK[type(event)])


def _of_itself(record: bytes) -> bool:
    return b'"patient_id":"itbwatch:' in record
