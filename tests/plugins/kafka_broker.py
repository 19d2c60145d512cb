"""A real Kafka: one broker for the session (`kafka`), topics of one's own on it (`topics`), or private brokers (`new_broker`)."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.kafka.broker import Broker, KafkaMissingError, create_topics, ensure_jars
from tests.plugins.required import missing


@pytest.fixture(scope="session")
def _kafka_jars() -> None:
    reason = None
    try:
        ensure_jars()
    except KafkaMissingError as error:
        reason = str(error)
    if reason:
        missing("kafka", reason)


@pytest.fixture(scope="session")
def kafka(_kafka_jars: None) -> Iterator[Broker]:
    """One running broker, shared by the session: do not kill or pause it (`new_broker` is for that)."""
    with Broker() as broker:
        yield broker


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> str:
    """A prefix for topics and groups that no other test uses, with the test's name in it for the broker's log."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")
    return f"{name}-{uuid.uuid4().hex[:8]}."


@pytest.fixture
def topics(kafka: Broker, topic_prefix: str) -> Callable[..., dict[str, str]]:
    """Create topics on the shared broker: `topics(observations=4)["observations"]` is the full name."""

    def create(**partitions: int) -> dict[str, str]:
        names = {short: topic_prefix + short for short in partitions}
        create_topics(kafka.bootstrap, {names[short]: count for short, count in partitions.items()})
        return names

    return create


@pytest.fixture
def new_broker(_kafka_jars: None) -> Iterator[Callable[..., Broker]]:
    """Start a private broker, which the test may kill, pause and restart; it is gone when the test ends."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(Broker(**options))
