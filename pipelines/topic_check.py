"""Whether the topics of a broker are as the service needs them (DESIGN.md section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from detector.errors import ConfigError
from pipelines.errors import SourceError
from pipelines.formats.canonical import KINDS
from pipelines.kafka_clients import MERGE_BYTES, TOPIC_CONFIG, admin, equal_partition_counts
from pipelines.settings import Kafka


class Checked(NamedTuple):
    """The partition count of the input topics, and what would better be otherwise though the service can run."""

    partitions: int
    advice: list[str]


def check_topics(kafka: Kafka, *, retrospective: bool, exports: Sequence[str] = ()) -> Checked:
    """Whether the topics are as they must be.

    Args:
        kafka: the broker and the names of its topics.
        exports: names of topics that alerts go to besides.
        retrospective: the records are older than any retention, so nothing may be deleted by age.

    Raises:
        SourceError: the broker does not answer.
        ConfigError: with every topic that is missing or is not as it must be.
    """
    inputs = [getattr(kafka.topics, role) for role in KINDS]
    outputs = [*(name for name in kafka.topics.model_dump().values() if name not in inputs), *exports]
    wanted = {key: value for key, value in TOPIC_CONFIG.items() if retrospective or key != "retention.ms"}
    client = admin(kafka)
    try:
        existing = set(client.list_topics()) & {*inputs, *outputs}
        counts = {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics(sorted(existing))}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(existing)]
        described = client.describe_configs(resources, config_filter="all") if resources else {}
    except KafkaError as error:
        raise SourceError(
            f"kafka: topics cannot be described ({type(error).__name__}); expected the right to describe them and their"
            " configuration"
        ) from error
    finally:
        client.close()
    problems: list[str] = []
    partitions = 0
    try:
        partitions = equal_partition_counts({name: counts.get(name) for name in inputs})
    except ConfigError as error:
        problems += error.problems
    problems += [
        f"kafka topic {name!r} does not exist; expected it for what the service writes; create it or correct kafka.topics"
        for name in outputs
        if name not in existing
    ]
    for configs in described.values():
        for name, config in sorted(configs.items()):
            problems += [
                f"kafka topic {name!r} {key}: {_value(config, key)!r}; expected {expected}; alter the topic"
                for key, expected in wanted.items()
                if _value(config, key) != expected
            ]
    if problems:
        raise ConfigError(problems)
    return Checked(partitions, _advice(kafka.topics.merges, described))


def _advice(merges: str, described: Mapping[Any, dict[str, Any]]) -> list[str]:
    config: dict[str, Any] = next((configs[merges] for configs in described.values() if merges in configs), {})
    size = _value(config, "max.message.bytes")
    if size is None or int(size) >= MERGE_BYTES:
        return []
    expected = f"expected {MERGE_BYTES} or more, because what a merged patient hands over is one record"
    return [f"kafka topic {merges!r} max.message.bytes: {size!r}; {expected}; alter the topic"]


def _value(config: dict[str, Any], key: str) -> str | None:
    """The value of one setting of a topic. None = the broker does not know it."""
    found = config.get(key)
    value = found.get("value") if isinstance(found, dict) else found
    return None if value is None else str(value)
