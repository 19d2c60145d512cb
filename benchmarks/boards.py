"""What a thousand boards cost the service: from a reading on the topic to its alert on the topic, with and without them.

    .venv/bin/python -m benchmarks.boards [CLIENTS [SECONDS [ROUNDS]]]

A real broker and `stream` on SQLite; RATE readings a second of a ward of WARD patients with a pump, of whom one more every
fifth of a second gets a rectal temperature that is critical by itself. CLIENTS (default 1,000) listen to the events and read
them at once, SLOW more never read what they are sent. Rounds without and with them alternate (default 3 of 40 s each); in the
first seconds of a round nothing is counted. Printed are the percentiles of the latency and the memory of the service.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from kafka import KafkaConsumer, KafkaProducer

from detector.clock import HOUR, rfc3339
from pipelines.ticks import wall_ms
from tests.kafka.broker import Broker, create_topics
from tests.pipelines.live import Site, Stream

RATE, WARD, SLOW = 500, 200, 10
PATIENCE_S = 60
EVERY_S, SETTLE_S = 0.2, 8.0
GET = b"GET /api/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


class Feed:
    """The ward on the topics, and when each reading that must alert was sent."""

    def __init__(self, bootstrap: str, prefix: str, rate: int = RATE, ward: int = WARD) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap)
        self._prefix, self._rate, self._ward = prefix, rate, ward
        self.sent: dict[str, float] = {}
        self._admitted = 0

    def say(self, topic: str, patient: str, at: int, **says: object) -> None:
        times = (
            {"effective_at": rfc3339(at), "available_at": rfc3339(at)}
            if topic == "observations"
            else {"at": rfc3339(at)}
        )
        record = {"type": topic.removesuffix("s"), "patient_id": patient, **times, **says}
        self._producer.send(self._prefix + topic, json.dumps(record).encode(), patient.encode(), timestamp_ms=at)

    def admit(self, patient: str, *, pump: bool = True) -> None:
        at = wall_ms() - HOUR
        self.say("encounters", patient, at, stay_id=f"{patient}-1", event="admitted", unit="MICU")
        if pump:
            self.say("pumps", patient, at, event="implanted")

    def hot(self) -> None:
        patient = f"hot-{self._admitted}"
        self._admitted += 1
        self.admit(patient)
        self._producer.flush()
        time.sleep(0.05)  # the encounter is another topic
        self.sent[patient] = time.time()
        self.say("observations", patient, wall_ms(), code="temp", value=41.5, unit="Cel", site="rectal")

    def run(self, seconds: float) -> None:
        began, told, hot = time.monotonic(), 0, 0
        while (passed := time.monotonic() - began) < seconds:
            while told < passed * self._rate:
                self.say("observations", f"calm-{told % self._ward}", wall_ms(), code="hr", value=70.0, unit="/min")
                told += 1
            if hot < passed / EVERY_S:
                self.hot()
                hot += 1
            time.sleep(0.01)

    def close(self) -> None:
        self._producer.close()


class Heard(threading.Thread):
    """When the first alert of each patient came on the topic."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._consumer = KafkaConsumer(
            topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=20
        )
        self.at: dict[str, float] = {}

    def run(self) -> None:
        while True:
            for records in self._consumer.poll(timeout_ms=100).values():
                for record in records:
                    patient = json.loads(record.value).get("patient_id", "")
                    self.at.setdefault(patient, time.time())


@contextmanager
def boards(url: str, clients: int) -> Iterator[None]:
    """So many listen until the block ends, in a process of their own; yields nothing but their presence."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.boards", "--listen", url, str(clients)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    print("   ", process.stdout.readline().strip(), flush=True)
    try:
        yield
    finally:
        process.terminate()
        print("   ", process.communicate()[0].strip(), flush=True)


async def listen(url: str, clients: int) -> None:
    """The other process: readers, and some who do not read."""
    where = urlsplit(url)
    heard = [0]

    async def read() -> None:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(GET)
        while part := await reader.read(1 << 16):
            heard[0] += len(part)

    async def dawdle() -> None:
        _, writer = await asyncio.open_connection(where.hostname, where.port, limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's own transports have it
        writer.write(GET)
        await asyncio.Event().wait()

    tasks = []
    for number in range(clients + SLOW):
        tasks.append(asyncio.create_task(read() if number < clients else dawdle()))
        if number % 20 == 0:
            await asyncio.sleep(0.05)
    print(f"{clients} listen and {SLOW} read nothing", flush=True)
    try:
        await asyncio.wait_for(asyncio.shield(asyncio.Event().wait()), 3_600)
    finally:
        ended = sum(task.done() for task in tasks)
        print(f"{heard[0] / 1e6:,.0f} MB were read, {ended} connections had ended", flush=True)


def percentile(sorted_: list[float], share: float) -> float:
    return sorted_[min(len(sorted_) - 1, int(share * len(sorted_)))]


def memory_mb(stream: Stream) -> float:
    status = Path(f"/proc/{stream.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measured(feed: Feed, heard: Heard, seconds: float) -> list[float]:
    """Latencies (s) of a round, what came in its first seconds left out."""
    began = time.time()
    feed.run(seconds + SETTLE_S)
    mine = {who: at for who, at in feed.sent.items() if at - began > SETTLE_S}
    until = time.monotonic() + PATIENCE_S
    while any(who not in heard.at for who in mine) and time.monotonic() < until:
        time.sleep(0.5)
    missing = [who for who in mine if who not in heard.at]
    assert not missing, f"{len(missing)} alerts did not come"
    for who in list(feed.sent):  # they leave, so that every round has as many open
        feed.say("encounters", who, wall_ms(), stay_id=f"{who}-1", event="discharged")
    feed.sent.clear()
    return sorted(heard.at[who] - at for who, at in mine.items())


def main(clients: int, seconds: float, rounds: int) -> None:
    with ExitStack() as open_now, tempfile.TemporaryDirectory() as folder:
        broker = open_now.enter_context(Broker())
        site = Site(
            broker.bootstrap,
            "bench.",
            Path(folder),
            time="wall",
            merge_idle_ms=0,
            wards=["MICU"],
            poll={"timeout_ms": 50},
        )
        create_topics(broker.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), 2))
        feed = open_now.enter_context(closing(Feed(broker.bootstrap, "bench.")))
        heard = Heard(broker.bootstrap, "bench.alerts")
        heard.start()
        stream = open_now.enter_context(site.streaming())
        stream.wait(lambda: len(stream.lags()) == 12)
        for number in range(WARD):
            feed.admit(f"calm-{number}")
        feed.run(5)
        latencies: dict[int, list[float]] = {0: [], clients: []}
        for number in range(rounds):
            for boards_now in (0, clients):
                with boards(stream.url(), boards_now) if boards_now else ExitStack():
                    some = measured(feed, heard, seconds)
                    latencies[boards_now] += some
                    told = [
                        f"{name} {1000 * percentile(some, share):.0f}" for name, share in (("p50", 0.5), ("p99", 0.99))
                    ]
                    print(
                        f"round {number + 1}, {boards_now:,} boards: {len(some)} alerts, {', '.join(told)} ms, {memory_mb(stream):.0f} MB",
                        flush=True,
                    )
    for boards_now, some in latencies.items():
        some.sort()
        told = [
            f"{name} {1000 * percentile(some, share):.1f}"
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
        ]
        print(f"{boards_now:,} boards: {len(some)} alerts, {', '.join(told)} ms")
    without, with_ = (percentile(some, 0.99) for some in latencies.values())
    print(f"p99 with over without: {with_ / without:.2f}")


def told_to_listen(url: str, clients: int) -> None:
    """Until SIGTERM."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    loop = asyncio.new_event_loop()
    task = loop.create_task(listen(url, clients))
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--listen"]:
        told_to_listen(sys.argv[2], int(sys.argv[3]))
    else:
        asked = [*map(int, sys.argv[1:]), *(1_000, 40, 3)[len(sys.argv) - 1 :]]
        main(*asked)
