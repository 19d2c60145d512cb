"""A small ward on real topics, as of the wall clock: its past at once, and a heart rate of everybody each second."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from kafka import KafkaProducer

from detector.clock import HOUR, MINUTE, rfc3339
from pipelines.ticks import wall_ms

PATIENTS = 12
GONE = "gone"
"""The one of whom nothing comes any more, since 70 min."""

DAYS_AGO = 30 * HOUR


class Feed:
    """``say`` sends a record; ``flowing`` = the heart rates of the ward come."""

    def __init__(self, producer: KafkaProducer, prefix: str) -> None:
        self._producer, self._prefix = producer, prefix
        self.flowing = threading.Event()
        self.flowing.set()
        self._over = threading.Event()
        self._lock = threading.Lock()

    def send(self, topic: str, key: str, value: bytes, at: int, **where: int) -> None:
        """The bytes as they are."""
        with self._lock:
            self._producer.send(self._prefix + topic, value, key.encode(), timestamp_ms=at, **where)

    def say(self, topic: str, patient: str, *, ago: int = 0, **says: Any) -> None:
        """A canonical record of a moment ``ago`` (ms)."""
        at = wall_ms() - ago
        when = (
            {"effective_at": rfc3339(at), "available_at": rfc3339(at)}
            if topic == "observations"
            else {"at": rfc3339(at)}
        )
        record = {"type": topic.removesuffix("s"), "patient_id": patient, **when, **says}
        self.send(topic, patient, json.dumps(record).encode(), at)

    def admit(self, patient: str, *, unit: str, ago: int, pump: str = "implanted") -> None:
        stay = f"{patient}-1"
        self.say("encounters", patient, ago=ago, stay_id=stay, event="admitted", unit=unit)
        self.say("pumps", patient, ago=ago, event=pump)

    def discharge(self, patient: str) -> None:
        self.say("encounters", patient, stay_id=f"{patient}-1", event="discharged")

    def temperature(self, patient: str, value: float, *, ago: int = 0, site: str | None = None) -> None:
        where = {"site": site} if site else {}
        self.say("observations", patient, ago=ago, code="temp", value=value, unit="Cel", **where)

    def time_moves(self, ahead: int) -> None:
        """Somebody else's record says that it is later (ms)."""
        at = wall_ms() + ahead
        for partition in (0, 1):
            value = json.dumps({"type": "time", "at": rfc3339(at)}).encode()
            self.send("observations", "", value, at, partition=partition)

    def past(self) -> None:
        """A day and a quarter in which nothing happened to anybody."""
        for number in range(PATIENTS):
            self.admit(
                f"calm-{number}",
                unit="MICU" if number % 2 else "SICU",
                ago=DAYS_AGO,
                pump="implanted" if number < 4 else "absent",
            )
        self.admit(GONE, unit="SICU", ago=DAYS_AGO, pump="absent")
        for ago in range(DAYS_AGO, 0, -30 * MINUTE):
            for number in range(PATIENTS):
                self.temperature(f"calm-{number}", round(36.5 + 0.06 * number, 2), ago=ago)
                self._heart(number, ago)
            if ago >= 70 * MINUTE:
                self.temperature(GONE, 37.0, ago=ago)
        self._producer.flush()

    def _heart(self, number: int, ago: int) -> None:
        self.say("observations", f"calm-{number}", ago=ago, code="hr", value=66 + 2 * number, unit="/min")

    def run(self) -> None:
        while not self._over.wait(1):
            if self.flowing.is_set():
                for number in range(PATIENTS):
                    self._heart(number, 0)

    def stop(self) -> None:
        self._over.set()


@contextmanager
def feeding(bootstrap: str, prefix: str) -> Iterator[Feed]:
    """The ward's past is in the topics; its present comes until the block ends."""
    with closing(KafkaProducer(bootstrap_servers=bootstrap, max_block_ms=10_000)) as producer:
        feed = Feed(producer, prefix)
        feed.past()
        thread = threading.Thread(target=feed.run)
        thread.start()
        try:
            yield feed
        finally:
            feed.stop()
            thread.join()
