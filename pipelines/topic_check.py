"""Whether the topics of a broker are as the service needs them (DESIGN.md section 2)."""

from __future__ import annotations

from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from detector.errors import ConfigError
from pipelines.errors import SourceError
from pipelines.formats.canonical import KINDS
from pipelines.kafka_clients import TOPIC_CONFIG, admin, equal_partition_counts
from pipelines.settings import Kafka


def check_topics(kafka: Kafka, *, retrospective: bool) -> int:
    """The partition count of the input topics.

    Args:
        kafka: the broker and the names of its topics.
        retrospective: the records are older than any retention, so nothing may be deleted by age.

    Raises:
        SourceError: the broker does not answer.
        ConfigError: with every topic that is missing or is not as it must be.
    """
    wanted = {key: value for key, value in TOPIC_CONFIG.items() if retrospective or key != "retention.ms"}
    inputs = [getattr(kafka.topics, role) for role in KINDS]
    outputs = [name for name in kafka.topics.model_dump().values() if name not in inputs]
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
    return partitions


def _value(config: dict[str, Any], key: str) -> str | None:
    """The value of one setting of a topic. None = the broker does not know it."""
    found = config.get(key)
    value = found.get("value") if isinstance(found, dict) else found
    return None if value is None else str(value)
