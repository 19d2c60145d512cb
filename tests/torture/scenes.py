"""The scenes of rounds: what is killed, paused, cut and turned back, and on what."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import socket
import struct
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.kafka.broker import Broker
from tests.postgresql.cluster import Cluster
from tests.torture.deployment import Deployment, Worker
from tests.torture.proxy import Proxy
from tests.torture.rounds import Scene, store_options

SESSION_MS = 3_000
"""Shorter than a site would take: a pause must outlast it."""
AT_MOST = 4
SOCKET = ".s.PGSQL.5432"
HOST_CLOCK = Path(__file__).with_name("host_clock.c")


class _OnBroker:
    """One broker, and one PostgreSQL where the store is one."""

    store, workers, running = "sqlite", 1, 1
    _cluster: Cluster | None = None

    def open(self, folder: Path, open_now: ExitStack) -> str:
        if self.store == "postgresql":
            self._cluster = open_now.enter_context(Cluster())
        return open_now.enter_context(Broker()).bootstrap

    def settings(self, folder: Path, seed: int) -> dict[str, Any]:
        return {"store": store_options(folder, self._cluster)}


class Kills(_OnBroker):
    """SIGKILL of a worker and a start at once."""

    def __init__(self, store: str) -> None:
        self.store = store
        self.workers = self.running = 2 if store == "postgresql" else 1

    def fault(self, made: Deployment, rng: random.Random) -> str:
        worker = rng.choice(made.workers)
        worker.kill()
        worker.start()
        return "SIGKILL"


def kills(chosen: argparse.Namespace) -> tuple[Scene, str, str, str]:
    scene = Kills(chosen.store)
    many = "a worker" if scene.workers == 1 else f"one of {scene.workers} workers"
    return scene, f"kills {chosen.store}", "0 lost, 0 doubled in the store", f"SIGKILL of {many} under load"


class Rebalances(_OnBroker):
    """Up to four workers on one PostgreSQL that come, go, and stand still for longer than their session."""

    store, workers, running = "postgresql", AT_MOST, 2

    def settings(self, folder: Path, seed: int) -> dict[str, Any]:
        kafka = {"session_timeout_ms": SESSION_MS, "heartbeat_interval_ms": 500}
        if seed // 25 % 2:  # members without a name of their own leave at once, those with one after their session
            kafka["group_instance_id"] = None
        return super().settings(folder, seed) | {"kafka": kafka}

    def fault(self, made: Deployment, rng: random.Random) -> str:
        here = [worker for worker in made.workers if worker.process is not None]
        away = [worker for worker in made.workers if worker.process is None]
        what = rng.choice([*(["join"] * bool(away)), *(["leave"] * (len(here) > 1)), *(["pause"] * (len(here) > 1))])
        if what == "join":
            rng.choice(away).start()
        elif what == "leave":
            made.leave(rng.choice(here))
        else:
            _pause(made, rng.choice(here), SESSION_MS / 1_000 + rng.uniform(0.5, 3))
        return what


def _pause(made: Deployment, worker: Worker, seconds: float) -> None:
    """It holds what it has read and not committed, while others go on."""
    assert worker.process is not None
    worker.process.send_signal(signal.SIGSTOP)
    try:
        made.send()
        time.sleep(seconds)
    finally:
        worker.process.send_signal(signal.SIGCONT)


def rebalances(_chosen: argparse.Namespace) -> tuple[Scene, str, str, str]:
    return (
        Rebalances(),
        "rebalances",
        "0 stale writes, 0 turned round, 0 lost",
        f"join, leave, pause; to {AT_MOST} workers",
    )


class BrokerFaults:
    """A broker that dies, stands still, and whose connections are cut, slow or sliced by a proxy."""

    store, workers, running = "sqlite", 1, 1

    def open(self, folder: Path, open_now: ExitStack) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._broker = open_now.enter_context(Broker(advertised=f"127.0.0.1:{port}"))
        self._proxy = open_now.enter_context(Proxy(("127.0.0.1", port), ("127.0.0.1", self._broker.port), 1))
        return f"127.0.0.1:{port}"

    def settings(self, folder: Path, seed: int) -> dict[str, Any]:
        # A topic that comes late must not be overtaken by the others: a merge of topics waits for so long, and no longer.
        return {"store": store_options(folder, None), "merge_idle_ms": 2_000}

    def fault(self, made: Deployment, rng: random.Random) -> str:
        what = rng.choice(
            ("broker killed", "broker paused", "reset", "reset", "latency", "sliced", "cut again and again")
        )
        match what:
            case "broker killed":
                self._broker.kill()
                time.sleep(rng.uniform(0, 3))
                self._broker.start()
            case "broker paused":
                self._broker.pause()
                time.sleep(rng.uniform(15, 30))
                self._broker.resume()
            case "reset":
                self._proxy.cut()
            case "cut again and again":
                for _ in range(rng.randint(3, 12)):
                    self._proxy.cut()
                    time.sleep(rng.uniform(0.05, 1))
            case _:
                self._proxy.delay_s = 0.3 if what == "latency" else 0.0
                self._proxy.slice_bytes = 7 if what == "sliced" else 0
                made.send()
                time.sleep(rng.uniform(2, 6))
                self._proxy.delay_s, self._proxy.slice_bytes = 0.0, 0
        return what


def broker(_chosen: argparse.Namespace) -> tuple[Scene, str, str, str]:
    return (
        BrokerFaults(),
        "broker",
        "0 lost, goes on by itself",
        "broker killed, paused 15 to 30 s; network cut, slow, sliced",
    )


class DatabaseFaults(_OnBroker):
    """A PostgreSQL that is killed, stands still, and whose answer to a COMMIT never arrives."""

    store, workers, running = "postgresql", 2, 2

    def open(self, folder: Path, open_now: ExitStack) -> str:
        address = super().open(folder, open_now)
        assert self._cluster is not None
        self._front = folder / "db"
        self._front.mkdir()
        self._proxy = open_now.enter_context(Proxy(str(self._front / SOCKET), str(self._cluster.folder / SOCKET), 1))
        return address

    def settings(self, folder: Path, seed: int) -> dict[str, Any]:
        direct = store_options(folder, self._cluster)
        front = folder.parent / f"{folder.name}.front.url"
        front.touch(0o600)
        front.write_text(Path(direct["url_file"]).read_text().replace(str(self._cluster.folder), str(self._front)))
        return {"store": {"url_file": str(front)}, "judged": direct}

    def fault(self, made: Deployment, rng: random.Random) -> str:
        assert self._cluster is not None
        what = rng.choice((*["answer to COMMIT lost"] * 8, "connections cut", "server killed", "server paused"))
        match what:
            case "answer to COMMIT lost":
                lost = self._proxy.lost_commits
                self._proxy.lose_commits = 1
                made.send()
                made.until(lambda: self._proxy.lost_commits > lost, "nobody commits")
            case "connections cut":
                self._proxy.cut()
            case "server killed":
                self._cluster.stop("immediate")
                time.sleep(rng.uniform(0, 3))
                self._cluster.start()
            case _:
                self._cluster.pause()
                time.sleep(rng.uniform(1, 8))
                self._cluster.resume()
        return what


def database(_chosen: argparse.Namespace) -> tuple[Scene, str, str, str]:
    return (
        DatabaseFaults(),
        "database",
        "one outcome of every commit",
        "answer to COMMIT lost; PostgreSQL killed, paused, cut off",
    )


class ClockSteps(_OnBroker):
    """A worker whose host clock steps by up to two hours and runs ten times as fast; its monotonic clock goes on, as a
    kernel's does (``host_clock.c``).
    """

    def open(self, folder: Path, open_now: ExitStack) -> str:
        if shutil.which("cc") is None:
            raise SystemExit("cc is not installed; expected a compiler of C for host_clock.c")
        self._shim = folder / "host_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self._shim, HOST_CLOCK], check=True)
        return super().open(folder, open_now)

    def settings(self, folder: Path, seed: int) -> dict[str, Any]:
        self._clock = folder.parent / f"{folder.name}.clock"
        self._set(0.0, 1.0)
        before = ["env", f"LD_PRELOAD={self._shim}", f"CLOCK_STEPS={self._clock}"]
        return super().settings(folder, seed) | {"before": before}

    def fault(self, made: Deployment, rng: random.Random) -> str:
        what = rng.choice(("step ahead", "step back", "some step", "ten-fold speed"))
        ahead = {"step ahead": 7_200.0, "step back": -7_200.0, "some step": rng.uniform(-7_200, 7_200)}
        self._set(ahead.get(what, 0.0), 10.0 if what == "ten-fold speed" else 1.0)
        return what

    def _set(self, ahead_s: float, speed: float) -> None:
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:  # the worker has it mapped
            file.write(struct.pack("ddd", ahead_s, speed, time.time()))


def clock(_chosen: argparse.Namespace) -> tuple[Scene, str, str, str]:
    return ClockSteps(), "clock", "0 differences in results", "host clock steps by up to 2 h, runs ten times as fast"
