"""One real Kafka broker on loopback, for tests (`with Broker() as broker`) and for a person (`make kafka`).

The broker may be killed, paused and started again on the same log directory: its address never changes.
Jars come from pom.xml through Maven, once, into the git-ignored .cache/kafka-libs.

What Kafka 4.3 wants (tried with 4.3.1 on Java 17):

- `kafka.tools.StorageTool` formats and `kafka.Kafka` runs, both in kafka_2.13.jar.
- With `controller.quorum.bootstrap.servers`, `format` needs `--standalone`; it refuses without one of its quorum options.
- The cluster id is 16 bytes in base64url; made here, which saves a Java start.
- slf4j-api is 1.7, so slf4j-simple 1.7 is the binding; log4j2 is on the class path and needs no file.
- It opens its listener before it serves: ready means that the metadata names a live broker, not that a socket connects.
- After a SIGKILL the controller takes the new process for a duplicate until the old session ends: 9 s by default, 2 s here.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import gc
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
POM = Path(__file__).with_name("pom.xml")
LIBS = ROOT / ".cache" / "kafka-libs"
OLDEST_JAVA = 17  # Kafka 4's minimum for a broker
READY_WITHIN_S = 60.0
FOREVER_MS = 9223372036854775807
TOPIC_CONFIG = {
    "message.timestamp.type": "CreateTime",
    "retention.ms": "-1",
    # A replayed or skewed record may lie in the broker's future; the default refuses it beyond an hour.
    "message.timestamp.after.max.ms": str(FOREVER_MS),
}

# A test run that is itself killed leaves no broker behind. (The kernel means the thread that started it: start it in the main one.)
DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://{advertised},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={log_dir}
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=250
log.retention.check.interval.ms=1000
"""


class KafkaMissingError(RuntimeError):
    """Java, Maven or the jars are missing, so no broker can be started; the message says which."""


def _state(task: Path) -> str:
    """A letter of proc(5): T = stopped."""
    return (task / "stat").read_text().rsplit(")", 1)[1].split()[0]


class BrokerError(RuntimeError):
    """The broker ended or did not become ready; the message names its log and shows the end of it."""


def ensure_jars() -> Path:
    """Return the folder of Kafka's jars, fetching them through Maven if pom.xml is newer; parallel callers wait for one."""
    _require_java()
    wanted = POM.read_text()
    stamp = LIBS / "pom.xml"  # written last: its presence says that the copy is complete
    LIBS.parent.mkdir(exist_ok=True)
    with (LIBS.parent / "kafka-libs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return LIBS
        if shutil.which("mvn") is None:
            raise KafkaMissingError("Maven (mvn) is not installed and Kafka's jars are not in .cache/kafka-libs")
        shutil.rmtree(LIBS, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={LIBS}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise KafkaMissingError(
                f"Maven could not fetch Kafka's jars: {lines[0] if lines else f'exit status {done.returncode}'}"
            )
        stamp.write_text(wanted)
    return LIBS


def create_topics(bootstrap: str, topics: Mapping[str, int]) -> None:
    """Create each topic with its number of partitions; timestamps are the producer's, nothing expires."""
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics(
            [
                NewTopic(name=name, num_partitions=count, replication_factor=1, topic_configs=TOPIC_CONFIG)
                for name, count in topics.items()
            ]
        )


class Broker:
    """A combined KRaft broker and controller in its own process, with its own temporary folder.

    `advertised` ("host:port") is what clients are told to connect to: put a fault proxy there.
    """

    def __init__(self, port: int = 0, *, advertised: str | None = None) -> None:
        """Choose ports (0: a free one) and write the properties; nothing runs before `start`."""
        self.jars = ensure_jars()
        self.folder = Path(tempfile.mkdtemp(prefix="itbwatch-kafka-"))
        self.log_dir = self.folder / "data"
        self.log = self.folder / "broker.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = port or free_port()
        self.advertised = advertised or f"127.0.0.1:{self.port}"
        self._properties = self.folder / "server.properties"
        self._properties.write_text(
            PROPERTIES.format(
                port=self.port, controller_port=free_port(), advertised=self.advertised, log_dir=self.log_dir
            )
        )

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()
        with warnings.catch_warnings():
            # kafka-python forgets sockets when a broker is killed; they must not be found in whichever test comes next.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    @property
    def bootstrap(self) -> str:
        """The address for `bootstrap_servers`; the same after every restart."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start on the log directory, formatting it the first time; return once metadata is served."""
        if self.process is not None:
            raise RuntimeError("the broker is already running")
        if not (self.log_dir / "meta.properties").exists():
            cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
            self._log_run("kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster_id}", "-c")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*DIE_WITH_PARENT, *self._java("kafka.Kafka", str(self._properties))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a person's Ctrl-C reaches us alone; we then stop the broker in order
            )
        self.wait_until_ready()
        return self

    def wait_until_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Return once the broker serves metadata; raise TimeoutError when it does not in time, BrokerError when it ended."""
        if self.process is None:
            raise BrokerError("the broker is not running")
        deadline = time.monotonic() + within_s
        while not names_a_broker(self.port):
            status = self.process.poll()
            if status is not None:
                self.process = None
                raise BrokerError(self._failure(f"the broker ended with status {status}"))
            if time.monotonic() > deadline:
                raise TimeoutError(self._failure(f"the broker was not ready after {within_s:g} s"))
            time.sleep(0.05)

    def stop(self, within_s: float = 20.0) -> None:
        """Shut down in order (SIGTERM), or by SIGKILL when that takes too long; a stopped broker stays stopped."""
        if self.process is None:
            return
        self.resume()
        self.process.terminate()
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self) -> None:
        """End the broker by SIGKILL, as a crash would; what it acknowledged stays in the page cache."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): its sockets stay open and nothing answers."""
        self._signal(signal.SIGSTOP)
        assert self.process is not None
        tasks = Path(f"/proc/{self.process.pid}/task")
        deadline = time.monotonic() + 10
        while any(_state(task) != "T" for task in tasks.iterdir()):  # the signal is sent, and takes hold a moment later
            assert time.monotonic() < deadline, "the broker does not stop"
            time.sleep(0.01)

    def resume(self) -> None:
        """Let a paused broker go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the broker and delete its folder. Its data is for tests only, so no orderly shutdown is waited for."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the broker's own log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def _java(self, *arguments: str) -> list[str]:
        java = ["java", "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
        java += ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]
        return [*java, "-cp", f"{self.jars}/*", *arguments]

    def _log_run(self, *arguments: str) -> None:
        with self.log.open("ab") as log:
            command = self._java(*arguments, str(self._properties))
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise BrokerError(self._failure(f"{arguments[0]} failed with status {done.returncode}"))

    def _failure(self, what: str) -> str:
        return f"{what}; {self.log} ends with:\n{self.log_tail()}"


def free_port() -> int:
    """Return a loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def names_a_broker(port: int) -> bool:
    """Say whether Kafka on this port answers a Metadata request (v1, no topics) with at least one live broker.

    Written out by hand: a client would follow the advertised address, where a test may have put a proxy that is not up yet.
    """
    request = struct.pack(">hhih", 3, 1, 0, -1) + struct.pack(">i", 0)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.recv(12, socket.MSG_WAITALL)
    except OSError:
        return False
    if len(head) < 12:
        return False
    _size, _correlation, brokers = struct.unpack(">iii", head)
    return int(brokers) > 0


def _require_java() -> None:
    """Raise KafkaMissingError unless a Java that can run the broker is on the path."""
    if shutil.which("java") is None:
        raise KafkaMissingError("Java is not installed; Kafka needs version 17 or newer")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < OLDEST_JAVA:
        raise KafkaMissingError(
            f"Java is {found[1] if found else 'unknown'}; Kafka needs version {OLDEST_JAVA} or newer"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run a broker in the foreground until Ctrl-C or SIGTERM; its data is deleted when it ends."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--port", type=int, default=9092, help="loopback port to listen on (default 9092; 0: a free one)"
    )
    parser.add_argument("--topic", action="append", default=[], metavar="NAME[:PARTITIONS]", help="create this topic")
    parser.add_argument("--jars", action="store_true", help="only fetch Kafka's jars")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if chosen.jars:
            print(f"Kafka's jars are in {ensure_jars().relative_to(ROOT)}")
            return 0
        began = time.monotonic()
        with Broker(chosen.port) as broker:
            print(f"Kafka is ready on {broker.bootstrap} after {time.monotonic() - began:.1f} s; its log: {broker.log}")
            if chosen.topic:
                wanted = {name: int(count or 1) for name, _, count in (topic.partition(":") for topic in chosen.topic)}
                create_topics(broker.bootstrap, wanted)
                print(f"topics: {', '.join(wanted)}")
            print(f'To use it, set under kafka: in config.yaml   bootstrap_servers: ["{broker.bootstrap}"]')
            print("Ctrl-C ends it and deletes its data.", flush=True)
            assert broker.process is not None
            status = broker.process.wait()
            raise BrokerError(
                f"the broker ended by itself with status {status}; its log ended with:\n{broker.log_tail()}"
            )
    except KeyboardInterrupt:
        print("\nKafka is stopped.")
        return 0
    except (KafkaMissingError, BrokerError, TimeoutError) as error:
        print(f"kafka: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
