"""A short part of the campaign with fixed seeds, and that its oracle can say no."""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import closing

import pytest

from pipelines.plan_files import load_plan
from tests.torture.__main__ import main
from tests.torture.courses import course
from tests.torture.oracle import Difference, expected, published, stored
from tests.torture.results import Results
from tests.torture.schedules import SETTINGS, Database, Schedule
from tests.torture.simulated_kafka import Consumer, Group, Log, Source

SEEDS = range(20_000_040, 20_000_080)
"""Seeds that the campaign does not reach."""


@pytest.fixture(scope="module")
def plan():
    return load_plan(SETTINGS)


def test_simulated_schedules_give_the_records_of_a_fold_without_faults(plan, record_property):
    records, injected = 0, Counter()
    with closing(Database()) as database:
        for seed in SEEDS:
            played = Schedule(plan, database, seed).play()

            assert played.good, f"seed {seed}: {played}"
            records, injected = records + played.records, injected + played.injected

    record_property("told", f"{len(SEEDS)} schedules, {records} records, {injected.total()} faults, 0 differences")
    assert records > 2 * len(SEEDS), "most courses alert"
    assert {
        "rebalance",
        "zombie",
        "(refused a stale commit)",
        "crash between steps",
        "crash after a commit",
        "connection cut while a number is loaded",
    } <= injected.keys()


def test_the_oracle_sees_what_is_lost_doubled_or_wrong(plan):
    due = {}
    for seed in range(10):
        one = course(seed)
        due |= expected(plan, one.events, one.end)
    records = [json.dumps(record).encode() for _, record in sorted(due.items())]
    other = json.dumps(json.loads(records[0]) | {"severity": "info"}).encode()

    assert len(records) > 10
    assert Difference() == stored(due, records) == published(due, [records[0], *records])
    assert Difference(lost=1) == stored(due, records[1:]) == published(due, records[:-1])
    assert Difference(doubled=1) == stored(due, [records[3], *records])
    assert Difference(wrong=1) == stored(due, [other, *records[1:]]) == published(due, [*records, other])
    sequences = [key for key in sorted(due) if key[1] == 2]
    late, early = (json.dumps(due[sequences[0][0], number]).encode() for number in (1, 2))
    turned = [early, late, *(one for one in records if one not in (early, late))]
    assert Difference(lost=1) == published(due, turned)


class Owner:
    """Stores nothing: every number is read from its beginning each time it is gained."""

    def gained(self, partition):
        return {}

    def lost(self, partition):
        pass


def test_a_number_lost_and_gained_again_in_one_poll_is_read_once_from_its_stored_position():
    rng = random.Random(1)
    log, group = Log(SETTINGS.kafka.topics.model_dump(), course(3).log), Group(rng)
    consumer = Consumer(log, group, rng, slow=0.0)
    source = Source(SETTINGS, Owner(), consumer)
    while not any(len(buffer) > 2 for one in source._buffers.values() for buffer in one.values()):
        source.poll(1, 0)
    group.rebalance()
    consumer._numbers = []  # it hears of the loss and of the gain at once
    source.on_partitions_revoked(list(consumer._subscription.assignment))

    offsets = [(raw.topic, raw.partition, raw.offset) for _ in range(200) for raw in source.poll(3, 0)]

    assert sorted(offsets) == sorted(
        (where.topic, where.partition, one) for where, end in log.ends().items() for one in range(end)
    )


def test_a_campaign_in_parts_goes_on_counting(tmp_path, capsys):
    words = ["--only", "schedules", "--schedules", "2", "--results", str(tmp_path / "results.json")]

    assert 0 == main(words) == main(words)

    row = Results(tmp_path / "results.json").rows["schedules"]
    assert (4, 4, True) == (row.times, row.resume, row.good)
    row.add(Difference(lost=1))
    assert not row.good
    assert "schedules" in capsys.readouterr().out
