"""How we talk to a broker: one place for addresses, security, time-outs and the defaults of kafka-python we refuse."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError

from detector.errors import ConfigError, nearest
from pipelines.errors import SourceError
from pipelines.settings import Kafka, read_secret_line

log = logging.getLogger(__name__)
Client = TypeVar("Client")

BOOTSTRAP_MS = 15_000  # a broker that does not answer by then is named, and the process ends with 74

TOPIC_CONFIG = {
    "message.timestamp.type": "CreateTime",
    "retention.ms": "-1",
    # Retrospective data lie in the years 2100 to 2200; Kafka 4 refuses what is stamped over an hour ahead.
    "message.timestamp.after.max.ms": str((1 << 63) - 1),
}

MERGE_BYTES = 16 << 20  # compressed; a day of a densely monitored patient is a few MB
MERGE_CONFIG = {"max.message.bytes": str(MERGE_BYTES)}
"""What the topic of merges has besides: a handover is the whole history of a patient in one record."""

LARGEST_RECORD = 64 << 20  # before compression


def topic_config(kafka: Kafka, topic: str) -> dict[str, str]:
    """How a topic of this name must be set."""
    return TOPIC_CONFIG | (MERGE_CONFIG if topic == kafka.topics.merges else {})


def consumer(kafka: Kafka, fetch_bytes: int) -> KafkaConsumer:
    """A consumer of the group that starts nowhere by itself: positions are ours.

    Raises:
        SourceError: no broker answers.
        ConfigError: a file of the security section cannot be used.
    """
    if importlib.util.find_spec("crc32c") is None:
        log.warning("crc32c_missing effect='checking records is about 3 times slower'")
    return _client(
        KafkaConsumer,
        kafka,
        group_id=kafka.group_id,
        group_instance_id=kafka.group_instance_id,
        session_timeout_ms=kafka.session_timeout_ms,
        heartbeat_interval_ms=kafka.heartbeat_interval_ms,
        max_poll_interval_ms=kafka.max_poll_interval_ms,
        enable_auto_commit=False,
        # An offset that is not there must be seen, not skipped: we go to the earliest ourselves, and say so.
        auto_offset_reset="none",
        isolation_level="read_committed",
        check_crcs=True,
        allow_auto_create_topics=False,
        max_partition_fetch_bytes=fetch_bytes,
        # A full answer per fetch says where every topic ends; incremental sessions have stalled before (kafka-python 2575).
        enable_incremental_fetch_sessions=False,
        # Range gives one member the same partition number of every topic, which is what owning a patient means.
        partition_assignment_strategy=(RangePartitionAssignor,),
    )


def end_reader(kafka: Kafka) -> KafkaConsumer:
    """A consumer of no group that only asks where topics end; open transactions hold that back, as for ``consumer``.

    Raises:
        SourceError: no broker answers.
    """
    return _client(
        KafkaConsumer, kafka, group_id=None, isolation_level="read_committed", enable_auto_commit=False,
        allow_auto_create_topics=False,
    )  # fmt: skip


def producer(kafka: Kafka, **options: Any) -> KafkaProducer:
    """An idempotent producer that waits for every replica and gives up after ``delivery_timeout_ms``.

    Raises:
        SourceError: no broker answers.
    """
    return _client(
        KafkaProducer,
        kafka,
        acks="all",
        enable_idempotence=True,
        delivery_timeout_ms=max(kafka.delivery_timeout_ms, kafka.request_timeout_ms + options.get("linger_ms", 0)),
        allow_auto_create_topics=False,
        max_request_size=LARGEST_RECORD,
        compression_type="zstd",
        **({"max_block_ms": kafka.delivery_timeout_ms} | options),
    )


def admin(kafka: Kafka) -> KafkaAdminClient:
    """A client that lists and makes topics.

    Raises:
        SourceError: no broker answers.
    """
    return _client(KafkaAdminClient, kafka)


def create_topics(kafka: Kafka, topics: Iterable[str], partitions: int) -> list[str]:
    """Make the topics that are not there, as DESIGN.md section 2 wants them; return their names.

    Raises:
        SourceError: the broker does not answer or refuses.
    """
    client = admin(kafka)
    try:
        missing = sorted(set(topics) - set(client.list_topics()))
        if missing:
            client.create_topics(
                [NewTopic(name, partitions, 1, topic_configs=topic_config(kafka, name)) for name in missing]
            )
    except KafkaError as error:
        raise SourceError(f"kafka: topics cannot be made ({type(error).__name__}); make them by hand") from error
    finally:
        client.close()
    return missing


def equal_partition_counts(counts: Mapping[str, int | None]) -> int:
    """The one partition count of the input topics; ``counts`` None = the topic is not there.

    Raises:
        ConfigError: topics are missing, or two differ: a patient would be cut across owners.
    """
    missing = [topic for topic, count in counts.items() if not count]
    if missing:
        known = [topic for topic, count in counts.items() if count]
        raise ConfigError(
            f"kafka topic {topic!r} does not exist; expected it beside {', '.join(known) or 'the other inputs'}"
            f"{nearest(topic, known)}; create it or correct kafka.topics"
            for topic in missing
        )
    (first, expected), *others = counts.items()
    for topic, count in others:
        if count != expected:
            problem = (
                f"kafka topics {first!r} and {topic!r} have {expected} and {count} partitions; expected equal counts,"
                " so that one partition number holds the whole of a patient; make one of them anew"
            )
            raise ConfigError([problem])
    assert expected is not None
    return expected


def _client(make: Callable[..., Client], kafka: Kafka, **options: Any) -> Client:
    security = kafka.security
    protocol = {"plaintext": "PLAINTEXT", "ssl": "SSL", "sasl_ssl": "SASL_SSL"}[security.protocol]
    secure: dict[str, Any] = {"security_protocol": protocol}
    if security.protocol != "plaintext":
        secure |= {
            "ssl_cafile": security.ca_file,
            "ssl_certfile": security.certificate_file,
            "ssl_keyfile": security.key_file,
        }
    if security.password_file is not None:
        secure |= {
            "sasl_mechanism": security.sasl_mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": read_secret_line(security.password_file, "$.kafka.security.password_file"),
        }
    servers = ", ".join(kafka.bootstrap_servers)
    try:
        return make(
            bootstrap_servers=kafka.bootstrap_servers,
            client_id=kafka.client_id,
            request_timeout_ms=kafka.request_timeout_ms,
            bootstrap_timeout_ms=BOOTSTRAP_MS,
            **secure,
            **options,
        )
    except KafkaError as error:
        said = type(error).__name__
        raise SourceError(
            f"kafka: {servers} does not answer within {BOOTSTRAP_MS // 1_000} s ({said});"
            " expected a broker; check kafka.bootstrap_servers and kafka.security"
        ) from error
    except OSError as error:
        raise SourceError(f"kafka: the files of kafka.security cannot be used ({error.strerror})") from error
