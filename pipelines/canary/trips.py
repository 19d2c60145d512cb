"""Trips of canaries: a thread with clients of its own sends them off and waits for their alerts on the alert topic.

It shares nothing with the service but the broker, so that whatever stops the service stops the alerts, and is seen.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, Final, Protocol

import msgspec
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import UnknownTopicOrPartitionError
from kafka.structs import TopicPartition

from detector.records import AlertRecord
from pipelines.canary.course import parts, patient_id, trip_of
from pipelines.kafka_clients import end_reader, producer
from pipelines.settings import Kafka
from pipelines.sources.headers import TRIP
from pipelines.ticks import wall_ms

log = logging.getLogger(__name__)

LISTEN_S: Final = 0.5
SEND_MS: Final = 2_000  # how long the producer may look for a topic: the thread must end soon when it is told to
LOST_AFTER: Final = 6
"""Trips in a row of which nothing came back: then the clients of this thread are made anew, for it may be them."""

REMEMBERED: Final = 360  # trips that may still come back: a path that is an hour long is whole all the same
_CANARY = b'"canary":true'


class Clients(Protocol):
    """What a trip needs of Kafka."""

    def send(self, partition: int, trip: int) -> None:
        """Send the parts of a trip off.

        Raises:
            KafkaError: something of an earlier trip could not be sent, or this one cannot.
        """

    def heard(self) -> list[AlertRecord]:
        """The canaries' alerts that came since."""

    def close(self) -> None: ...


class KafkaClients:
    """A producer of the input topics and a consumer, of no group, of the alert topic from its present end on.

    Raises:
        SourceError: no broker answers.
        KafkaError: the alert topic is not there.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._topics: dict[str, str] = kafka.topics.model_dump()
        self._sent: list[Any] = []
        self._listener: KafkaConsumer = end_reader(kafka)
        self._sender: KafkaProducer | None = None
        try:
            alerts = kafka.topics.alerts
            numbers = self._listener.partitions_for_topic(alerts)
            if not numbers:
                raise UnknownTopicOrPartitionError(f"{alerts}: expected a topic of alerts")
            where = [TopicPartition(alerts, number) for number in numbers]
            self._listener.assign(where)
            for one, end in self._listener.end_offsets(where).items():
                self._listener.seek(one, end)
            self._sender = producer(kafka, max_block_ms=SEND_MS)
        except BaseException:
            self.close()
            raise

    def send(self, partition: int, trip: int) -> None:
        assert self._sender is not None
        for future in self._sent:
            if future.is_done and future.exception is not None:
                raise future.exception
        self._sent = [future for future in self._sent if not future.is_done]
        self._sent += [
            self._sender.send(
                self._topics[role], key=patient_id(partition).encode(), value=value, partition=partition,
                timestamp_ms=trip, headers=[(TRIP, str(trip).encode())],
            )
            for role, value in parts(partition, trip).items()
        ]  # fmt: skip

    def heard(self) -> list[AlertRecord]:
        fetched = self._listener.poll(timeout_ms=int(LISTEN_S * 1_000))
        values = [record.value for records in fetched.values() for record in records]
        found = []
        for value in values:
            if value is not None and _CANARY in value:
                try:
                    found.append(msgspec.json.decode(value, type=AlertRecord))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # not ours: whoever may write to the topic can write anything
        return found

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close(timeout=1)
        self._listener.close(timeout_ms=0)


class Canaries:
    """Sends a canary through every owned partition number, again and again, and knows when the last one came back."""

    def __init__(
        self, connect: Callable[[], Clients], every_s: float, wall: Callable[[], int] = wall_ms, *,
        monotonic: Callable[[], float] = time.monotonic, came_back: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """``came_back`` is called when ``oldest_ms`` has moved on: then every owned number has been travelled again."""
        self._came_back, self._proven = came_back, 0
        self._connect, self._every_s, self._wall, self._monotonic = connect, every_s, wall, monotonic
        self._since: dict[int, int] = {}
        self._came: dict[int, int] = {}
        self._sent: dict[int, set[int]] = {}
        self._trip = 0
        self._any_came = False
        self._unheard = 0
        self._next_s = monotonic() + every_s
        self._clients: Clients | None = None
        self._told: type[Exception] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._fly_on, name="canaries", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Begin no more trips, and do not wait: others are closed meanwhile."""
        self._over.set()

    def close(self) -> None:
        """End; what is on its way is not waited for, and a client that hangs only for so long."""
        self.end()
        self._thread.join(timeout=SEND_MS / 1_000)

    def own(self, partitions: Collection[int]) -> None:
        """These partition numbers are ours from now on."""
        if self._since.keys() != set(partitions):
            now = self._wall()
            self._since = {number: self._since.get(number, now) for number in partitions}

    def oldest_ms(self) -> int | None:
        """When the trip began that came back last, of the partition number where that is longest ago (ms UTC).

        A number of which none came back counts from when it became ours. None = none came back of any.
        """
        since, came = self._since, self._came
        if not self._any_came or not since:
            return None
        return min(max(began, came.get(number, 0)) for number, began in since.items())

    def round(self) -> None:
        """Send what is due, and listen once.

        Raises:
            Exception: of the clients, which are of no use then.
        """
        if self._unheard >= LOST_AFTER:
            self._unheard = 0
            log.warning("canary_missing trips=%d effect='the clients of canaries are made anew'", LOST_AFTER)
            self._forget_clients()
        if self._clients is None:
            self._clients = self._connect()
        if self._monotonic() >= self._next_s:
            self._next_s = self._monotonic() + self._every_s
            self._send(self._clients)
        for record in self._clients.heard():
            self._hear(record)

    def _forget_clients(self) -> None:
        clients, self._clients = self._clients, None
        if clients is not None:
            clients.close()

    def _send(self, clients: Clients) -> None:
        self._trip = max(self._trip + 1, self._wall())  # a clock that is set back: trips go on in their order
        numbers = list(self._since)
        self._sent = {number: {*sorted(self._sent.get(number, ()))[-REMEMBERED:], self._trip} for number in numbers}
        self._unheard += bool(numbers)
        for number in numbers:
            clients.send(number, self._trip)

    def _hear(self, record: AlertRecord) -> None:
        trip = trip_of(record)
        number = next((one for one in self._sent if record.patient_id == patient_id(one)), None)
        if trip is None or number is None or trip not in self._sent[number]:
            return  # another worker's, or an old one
        self._came[number] = max(self._came.get(number, 0), trip)
        self._any_came, self._unheard, self._told = True, 0, None
        oldest = self.oldest_ms() or 0
        if oldest > self._proven:
            self._proven = oldest
            self._came_back()

    def _fly_on(self) -> None:
        while not self._over.wait(0 if self._clients is not None else LISTEN_S):
            try:
                self.round()
            except Exception as error:  # noqa: BLE001 - whatever it is: without this thread nobody knows of the path
                if type(error) is not self._told:
                    self._told = type(error)
                    log.warning("canary_grounded error=%s effect='no trip begins'", self._told.__name__)
                self._forget_clients()
        self._forget_clients()
