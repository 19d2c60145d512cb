"""Live = replay: real stays through a real Kafka give the records that a replay of the same files gives, crash or not.

The published case travels with a part of the MIMIC-III demo: everyone whose CK reached 1000 U/L, and the hottest of the
shorter courses. ITBWATCH_WHOLE=1 takes all of the demo, which needs some minutes.
"""

import json
import os
import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from pipelines.formats.canonical import encode
from pipelines.simulate import Bed, events
from tests.pipelines.live import Site, by_key, counted, replayed

ARRIVES = 1_900_022_400_000
HOTTEST = 30
SHORT = 800  # rows of a patient
LEAST_RECORDS = 30
PARTITIONS = 4


def chosen(observations: pl.LazyFrame) -> list[str]:
    """The patients of the part."""
    value, fahrenheit = pl.col("value"), pl.col("unit").str.contains("F").fill_null(False)
    temperature = pl.when(pl.col("code") == "temp").then(pl.when(fahrenheit).then((value - 32) / 1.8).otherwise(value))
    patients = observations.group_by("patient_id").agg(
        ck=(value * (pl.col("code") == "ck")).max(), hottest=temperature.filter(temperature < 43).max(), rows=pl.len()
    )
    hot = patients.filter(pl.col("rows") <= SHORT).sort("hottest", "patient_id", descending=True, nulls_last=True)
    both = pl.concat([patients.filter(pl.col("ck") >= 1000), hot.head(HOTTEST)])
    return both.collect()["patient_id"].unique().sort().to_list()


@pytest.fixture(scope="module")
def stays(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The words that name the files, for `publish` and for `replay`."""
    folder = tmp_path_factory.mktemp("stays")
    tables = [shared / "data" / "canonical" / f"mimic_iii_demo.{name}.parquet" for name in ("observations", "stays")]
    if not os.environ.get("ITBWATCH_WHOLE"):
        patients = chosen(pl.scan_parquet(tables[0]))
        for number, table in enumerate(tables):
            tables[number] = folder / table.name
            pl.scan_parquet(table).filter(pl.col("patient_id").is_in(patients)).sink_parquet(tables[number])
    case = folder / "published_case.ndjson"
    course = events([Bed(1, pump=True, course="published")], ARRIVES, hours=96, seed=1)
    case.write_bytes(b"".join(encode(event) + b"\n" for event in course))
    return [tables[0], case, "--stays", tables[1], "--pumps", "all"]


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    """Where the replay of these files leaves its results."""
    return tmp_path_factory.mktemp("replay") / "out"


@pytest.fixture(scope="module")
def expected(stays, replay):
    records = replayed(replay, *stays)

    assert len(records) >= LEAST_RECORDS
    assert {"SYN-0001"} < {record["patient_id"] for record in records.values()}
    return records


@pytest.fixture
def site(kafka, topic_prefix, tmp_path):
    return Site(kafka.bootstrap, topic_prefix, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_alert_topic_has_the_records_of_a_replay_one_to_one_and_the_metrics_count_them(
    site, stays, replay, expected
):
    said = site.publish(*stays, "--partitions", PARTITIONS)
    with site.streaming() as stream:
        stream.wait(lambda: counted(stream.metrics(), "alerts_total"))  # filled while it runs
        stream.wait(lambda: stream.metrics()["itbwatch_canary_timestamp_seconds"])  # they fly between the patients
        stream.wait(lambda: stream.caught_up(PARTITIONS))
        metrics = stream.metrics()

        assert "ready" in stream.get("readyz")

        stream.stop()

    published = site.published()

    assert expected == by_key(published)
    assert len(expected) == len(published), "an undisturbed service repeats nothing"
    assert expected == by_key(site.stored())
    assert_counted(metrics, expected)

    left_out = Counter({reason: int(count) for reason, count in re.findall(r"rejected \S+: (\S+) ([0-9,]+)", said)})
    of_replay = Counter()
    for reasons in json.loads((replay / "summary.json").read_bytes())["rejected"].values():
        of_replay.update(reasons)
    rejected = Counter({reason: counted(metrics, "records_rejected_total", reason=reason) for reason in of_replay})

    assert of_replay == rejected + left_out, "a row that replay refuses is refused on the way or in the service"
    assert rejected["suspect_unit"] + rejected["unknown_unit"] == len(site.dead_letters())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_three_times_in_the_middle_no_record_is_lost_and_none_is_in_the_store_twice(site, stays, expected):
    site.publish(*stays, "--partitions", PARTITIONS)
    for share in (0.2, 0.5, 0.8):
        with site.streaming() as stream:
            stream.get("metrics")  # the store is there once the page is
            stream.wait(lambda share=share: len(site.stored()) >= share * len(expected))
            stream.kill()

        assert len(site.stored()) < len(expected), "it was over before it was killed"
        for key, record in by_key(site.stored()).items():
            assert expected.get(key) == record

    with site.streaming() as stream:
        stream.wait(lambda: stream.caught_up(PARTITIONS))
        stream.stop()

    stored, published = site.stored(), site.published()

    assert expected == by_key(stored)
    assert len(expected) == len(stored)
    assert expected == by_key(published)  # what is there twice is the same both times: by_key looks
    for alert_id in {alert_id for alert_id, _ in expected}:
        seen = [record["sequence"] for record in published if record["alert_id"] == alert_id]
        new = [sequence for n, sequence in enumerate(seen) if sequence > max(seen[:n], default=0)]

        assert list(range(1, max(seen) + 1)) == new, "a reader that drops repeats sees each record once, in order"


def assert_counted(metrics, expected):
    """What a Prometheus server scraped says the same as the records."""
    opened = [record for record in expected.values() if record["state"] in ("opened", "raised")]
    of_records = Counter((record["syndrome"], record["severity"]) for record in opened)

    assert of_records.total() == counted(metrics, "alerts_total")
    for (syndrome, severity), count in of_records.items():
        assert count == counted(metrics, "alerts_total", syndrome=syndrome, severity=severity)
    assert 0 == counted(metrics, "alerts_active"), "every stay is over"
    assert counted(metrics, "rule_evaluations_total", rule="W-03", truth="true")
    assert counted(metrics, "observations_total", signal="ck", outcome="accepted")
    assert counted(metrics, "observation_delay_seconds_count", signal="ck")
    assert metrics["itbwatch_store_commit_seconds_count"]
    assert metrics["itbwatch_kafka_up"] == metrics["itbwatch_store_up"] == 1
