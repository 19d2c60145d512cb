"""The service as a site meets it: commands as processes on a real broker, read over HTTP, from the topics and the store."""

import base64
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from kafka import KafkaConsumer
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import TopicPartition

from pipelines.formats.canonical import KINDS
from pipelines.settings import Settings
from pipelines.settings_file import load_settings
from pipelines.store import Store

WAIT_S = 240  # a busy machine is not a bug

Key = tuple[str, int]
Record = dict[str, Any]
T = TypeVar("T")


def itbwatch(*words: object) -> list[str]:
    return [sys.executable, "-m", "pipelines", *map(str, words)]


def finished(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(itbwatch(*words), capture_output=True, text=True, check=False)


def done(*words: object) -> str:
    """What a command that must succeed printed."""
    process = finished(*words)

    assert 0 == process.returncode, process.stderr
    return process.stdout


def until(holds: Callable[[], T], process: subprocess.Popen[bytes]) -> T:
    """The first true answer while the process lives."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            if answer := holds():
                return answer
        except urllib.error.URLError:  # nobody listens: it is only starting, or it has ended
            time.sleep(1)
        assert process.poll() is None, f"the service ended by itself with {process.returncode}"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


class Stream:
    """One process of ``itbwatch stream``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self._url: str | None = None

    def url(self) -> str:
        """Where it listens, with a / at the end."""
        if self._url is None:
            self._url = until(lambda: re.findall(r"at (http://\S+/)", self.log.read_text()), self.process)[-1]
        return self._url

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url() + path, timeout=30) as answer:
            return str(answer.read().decode())

    def metrics(self) -> dict[str, float]:
        """Every series of /metrics as a Prometheus server reads it, by its full name."""
        lines = [line for line in self.get("metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def lags(self) -> list[float]:
        """Of every topic of every partition number that is owned."""
        return [lag for name, lag in self.metrics().items() if name.startswith("itbwatch_consumer_lag_records{")]

    def caught_up(self, partitions: int) -> bool:
        """Whether every topic was read to its end."""
        lags = self.lags()
        return len(lags) == partitions * len(KINDS) and not any(lags)

    def wait(self, holds: Callable[[], T]) -> T:
        return until(holds, self.process)

    def kill(self) -> None:
        """SIGKILL: nothing in the process gets to say goodbye."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and the promise of DESIGN.md section 5.9."""
        self.process.terminate()

        assert 0 == self.process.wait(10)


class Site:
    """Topics, a store and a configuration of their own on a broker."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, **options: Any) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.folder = folder
        self.config = folder / "config.yaml"
        self.log = folder / "stream.log"
        self.config.write_text(json.dumps({  # JSON is YAML
            "kafka": {
                "bootstrap_servers": [bootstrap],
                "topics": {role: prefix + role for role in (*KINDS, "alerts", "deadletters")},
                "group_id": prefix + "group",
                "group_instance_id": "one",  # whoever starts again after a SIGKILL is known at once
                "session_timeout_ms": 6_000,
                "heartbeat_interval_ms": 1_000,
                "canary_ms": 3_000,  # often, and still a reader of the topics comes to an end
            },
            "time": "stream",
            "merge_idle_ms": 500,
            "store": {"path": str(folder / "store.sqlite")},
            "http": {"port": 0},
        } | options))  # fmt: skip

    def another(self, name: str) -> "Site":
        """The same deployment as one more worker sees it: a name in the group and a log of its own."""
        site = copy(self)
        site.config, site.log = self.folder / f"{name}.yaml", self.folder / f"{name}.log"
        said = json.loads(self.config.read_text())
        said["kafka"]["group_instance_id"] = name
        site.config.write_text(json.dumps(said))
        return site

    @property
    def settings(self) -> Settings:
        return load_settings(self.config)

    def publish(self, *words: object) -> str:
        return done("publish", *words, "--config", self.config)

    @contextmanager
    def streaming(self) -> Iterator[Stream]:
        """A running service; it is gone when the block ends."""
        self.log.write_text("")
        with self.log.open("a") as errors:
            process = subprocess.Popen(itbwatch("stream", "--config", self.config), stderr=errors)
        try:
            yield Stream(process, self.log)
        finally:
            process.kill()
            process.wait()

    def topic(self, role: str) -> list[ConsumerRecord]:
        """A topic from its beginning to where it ends now, however long a busy machine takes."""
        deadline = time.monotonic() + WAIT_S
        with closing(KafkaConsumer(bootstrap_servers=self.bootstrap)) as consumer:
            name = self.prefix + role
            parts = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name)]
            ends = consumer.end_offsets(parts)
            consumer.assign(parts)
            consumer.seek_to_beginning()
            records: list[ConsumerRecord] = []
            while any(consumer.position(part) < ends[part] for part in parts):
                assert time.monotonic() < deadline, "a topic is not read to its end"
                for some in consumer.poll(timeout_ms=500).values():
                    records += some
            return records

    def published(self) -> list[Record]:
        """The alert topic as it is, repeats and all, but for what is said of canaries."""
        records = [json.loads(record.value) for record in self.topic("alerts")]
        return [record for record in records if "canary" not in record]

    def stored(self) -> list[Record]:
        """The table of alert records."""
        with closing(Store(self.settings.store, read_only=True)) as store:
            return [json.loads(record) for record in store.alerts(1_000_000)]

    def dead_letters(self) -> list[tuple[str, bytes | None, Record]]:
        """(reason, original bytes, letter) of the dead-letter topic."""
        letters = [json.loads(record.value) for record in self.topic("deadletters")]
        return [(one["reason"], base64.b64decode(one["value"]) if one["value"] else None, one) for one in letters]


def by_key(records: Sequence[Record]) -> dict[Key, Record]:
    """Whole records but for where their input stood; one that comes twice must say the same both times."""
    found: dict[Key, Record] = {}
    for record in records:
        key = record["alert_id"], record["sequence"]
        plain = record | {"provenance": record["provenance"] | {"position": None}}

        assert found.setdefault(key, plain) == plain, f"{key} came twice and differs"
    return found


def replayed(out: Path, *words: object) -> dict[Key, Record]:
    """The alert records of ``itbwatch replay``."""
    done("replay", *words, "--out", out)
    return by_key([json.loads(text) for text in pl.read_parquet(out / "alerts.parquet")["alert"]])


def counted(metrics: dict[str, float], name: str, **labels: str) -> int:
    """The sum of the series of a metric that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    series = (one for one in metrics if one.startswith(f"itbwatch_{name}{{") and all(label in one for label in wanted))
    return int(sum(metrics[one] for one in series))
