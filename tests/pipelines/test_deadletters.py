"""What is published of a record that could not be used."""

import base64
import json

import pytest

from pipelines.deadletters import keep
from pipelines.sources import RawRecord
from pipelines.store import Work

DEFAULT_OF_A_TOPIC = 1_048_588  # bytes: Kafka's max.message.bytes
OVERHEAD = 200  # of a record batch


def kept(key, value):
    work = Work(0, {}, {})
    keep(work, RawRecord(None, "icu.observations", 0, 7, 8, 1_000, key, value), "json")
    (letter,), (out,) = work.deadletters, work.outgoing
    return letter, out, json.loads(out.payload)


@pytest.mark.parametrize(
    ("key", "value"),
    [(800_000, 2), (2, 800_000), (600_000, 600_000), (1_024, 512 << 10), (1_024, (512 << 10) - 1_024), (0, 512 << 10)],
)
def test_a_dead_letter_fits_its_topic_whatever_the_size_of_key_and_value(key, value):
    letter, out, told = kept(b"k" * key, b"v" * value)

    assert len(out.key or b"") + len(out.payload) + OVERHEAD < DEFAULT_OF_A_TOPIC
    assert (key, value) == (told["key_bytes"], told["value_bytes"])
    assert (key, value) == (len(letter.key), len(letter.value))


def test_a_dead_letter_of_usual_size_says_all_of_it():
    _, out, told = kept(b"p-1", b"not json")

    assert b"p-1" == out.key == base64.b64decode(told["key"])
    assert b"not json" == base64.b64decode(told["value"])
