from contextlib import ExitStack

import pytest

from pipelines.formats.canonical import KINDS
from pipelines.settings import Kafka, Topics
from pipelines.sources.kafka import KafkaSource


@pytest.fixture
def inputs(kafka, topics, topic_prefix):
    """Input topics of their own with so many partitions, as settings."""

    def make(partitions=1, **other):
        names = topics(**(dict.fromkeys([*KINDS, "alerts", "deadletters"], partitions) | other))
        return Kafka(
            bootstrap_servers=[kafka.bootstrap], topics=Topics(**names), group_id=topic_prefix + "group",
            session_timeout_ms=6_000, heartbeat_interval_ms=1_000,
        )  # fmt: skip

    return make


@pytest.fixture
def open_source():
    with ExitStack() as stack:

        def open_source(kafka, owner, merge_idle_ms=0):
            source = KafkaSource(kafka, owner, record_bytes=1 << 20, merge_idle_ms=merge_idle_ms)
            stack.callback(source.close)
            return source

        yield open_source
