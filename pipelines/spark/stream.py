"""``stream --engine spark``: the six topics as one query of Spark, checkpointed, and its alerts to their topics."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from detector.errors import ConfigError
from detector.plan import Plan
from pipelines.errors import SourceError
from pipelines.formats.canonical import KINDS
from pipelines.outbox import KafkaPublisher
from pipelines.settings import Settings
from pipelines.sources.headers import TRIP
from pipelines.spark.session import jars, session
from pipelines.store import OutboxRow, Outgoing
from pipelines.technical import CANARY_PATIENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import DataFrame, Row, SparkSession
    from pyspark.sql.streaming import StreamingQuery

log = logging.getLogger(__name__)

STATE = {
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    # A commit then writes what changed, not what is.
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
}
LOOK_S = 0.5
FINISH_S = 5.0  # a stop may take 10 s (DESIGN.md section 5.9), and Java needs some of them
FINISHED_LOOK_S = 0.02
PUBLISH_ROWS = 1_000


class SparkStream:
    """A running query, until it is told to stop."""

    def __init__(self, query: StreamingQuery) -> None:
        self._query = query
        self._stopping = False

    def stop(self) -> None:
        """End ``run``; safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Wait until ``stop``; a micro-batch that is not finished then is run again after the next start.

        Raises:
            SourceError: the query ended by itself.
        """
        from pyspark.errors import PySparkException

        try:
            while not self._stopping:
                if self._query.awaitTermination(LOOK_S):
                    break
        except PySparkException as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            log.debug("query_ended error=%s", first)
        if not self._stopping:
            raise SourceError(
                "--engine spark: the query ended by itself; expected it to run until it is stopped; look at the lines of"
                " Spark above: the brokers, an offset that retention has deleted, or the checkpoint"
            )
        self._finish()
        self._query.stop()

    def _finish(self) -> None:
        """Let the micro-batch end that runs now. One that is interrupted is only run again, but Spark logs it as an error."""
        deadline = time.monotonic() + FINISH_S
        while self._query.isActive and self._query.status["isTriggerActive"] and time.monotonic() < deadline:
            time.sleep(FINISHED_LOOK_S)


@contextmanager
def streaming(settings: Settings, plan: Plan) -> Iterator[SparkStream]:
    """The query of these settings, started; it and Spark end with the block.

    Raises:
        ConfigError: the settings ask for what Spark's engine does not do, or Spark does not start.
    """
    _refuse(settings)
    more = STATE | (jars(Path(settings.spark.jars)) if settings.spark.jars is not None else {})
    with session(settings.spark, cores="*", more=more) as spark:
        try:
            query = _start(spark, settings, plan)
        except Exception as error:
            said = str(error)
            if "kafka" in said and ("find data source" in said or "DATA_SOURCE_NOT_FOUND" in said):
                problem = (
                    "--engine spark: Spark has no source of Kafka records; expected spark-sql-kafka-0-10 of its own version;"
                    " name the folder of its jars in spark.jars, or spark.jars.packages in spark.options"
                )
                raise ConfigError([problem]) from error
            raise
        yield SparkStream(query)


def _refuse(settings: Settings) -> None:
    problems = []
    if settings.source != "kafka":
        problems.append(f"config.yaml $.source: {settings.source!r}; expected kafka with --engine spark")
    if settings.kafka.security.protocol != "plaintext":
        problems.append(
            f"config.yaml $.kafka.security.protocol: {settings.kafka.security.protocol!r}; expected plaintext with"
            " --engine spark, whose source has not been tried with TLS; take --engine local"
        )
    if problems:
        raise ConfigError(problems)


def _start(spark: SparkSession, settings: Settings, plan: Plan) -> StreamingQuery:
    from pipelines.spark.processor import DELAY_DAYS, OUT, PatientProcessor

    checkpoint = Path(settings.spark.checkpoint)
    if "://" not in settings.spark.checkpoint:
        checkpoint.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds patients
    text = settings.model_dump_json()
    records = _records(spark, settings, plan).withWatermark("clock", f"{DELAY_DAYS} days")
    # A condition that reads the clock stays above the watermark: what only moves time must be seen by it.
    wanted = records.where("role <> '' OR clock IS NULL")
    said = wanted.groupBy("key").transformWithState(PatientProcessor(text), OUT, "append", "eventtime")
    publish = partial(_publish, text)
    return (
        said.writeStream.outputMode("append")
        .option("checkpointLocation", settings.spark.checkpoint)
        .trigger(processingTime=f"{settings.spark.trigger_ms} milliseconds")
        .foreachBatch(lambda batch, _: batch.foreachPartition(publish))
        .start()
    )


def _records(spark: SparkSession, settings: Settings, plan: Plan) -> DataFrame:
    """The records of all topics with the ``moment`` that orders them and the ``clock`` that Spark is shown.

    Everything that is there is one micro-batch: were it cut by offsets, the time of one partition would run ahead of
    records of another that are there and not read yet.
    """
    from pyspark.sql import functions as F  # noqa: N812

    from pipelines.spark.processor import SHIFT

    topics = {role: getattr(settings.kafka.topics, role) for role in KINDS}
    source = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", ",".join(settings.kafka.bootstrap_servers))
        .option("kafka.client.id", settings.kafka.client_id)
        .option("kafka.isolation.level", "read_committed")
        .option("subscribe", ",".join(topics.values()))
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .load()
    )
    is_canary = f"startswith(cast(key as string), '{CANARY_PATIENT}') AND exists(headers, one -> one.key = '{TRIP}')"
    role = F.coalesce(*(F.when(F.col("topic") == name, F.lit(role)) for role, name in topics.items()))
    records = source.where(f"NOT coalesce({is_canary}, false)").select(
        "key", "value", role.alias("role"), "topic", "partition", "offset", F.unix_millis("timestamp").alias("stamp")
    )
    moment = F.col("stamp")
    if settings.time == "wall":
        records = records.unionByName(_seconds(spark, records))
        now = F.unix_millis(F.current_timestamp())
        moment = F.when(F.col("stamp") > now + plan.catalogue.future_limit, now).otherwise(F.col("stamp"))
    timed = records.withColumn("moment", moment)
    return timed.withColumn("clock", F.timestamp_millis(F.col("moment") + F.lit(SHIFT)))


def _seconds(spark: SparkSession, like: DataFrame) -> DataFrame:
    """One row a second without a role: it moves time on where no record comes."""
    from pyspark.sql import functions as F  # noqa: N812

    rows = spark.readStream.format("rate").option("rowsPerSecond", 1).load()
    told = {"role": F.lit(""), "stamp": F.unix_millis("timestamp")}
    return rows.select(
        *(told.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in like.schema.fields)
    )


def _publish(settings: str, rows: Iterable[Row]) -> None:
    """Send one partition of a micro-batch, on an executor. It returns when every record has arrived.

    Raises:
        SourceError: the broker does not take them; the micro-batch is run again.
    """
    waiting = [
        OutboxRow(
            number, Outgoing(row.role, None if row.key is None else bytes(row.key), bytes(row.payload), row.timestamp)
        )
        for number, row in enumerate(rows)
    ]
    if not waiting:
        return
    known = Settings.model_validate_json(settings)
    deadline = time.monotonic() + known.kafka.delivery_timeout_ms / 1_000
    publisher = KafkaPublisher(known.kafka, known.exports)
    try:
        while waiting:
            told = publisher.publish(waiting[:PUBLISH_ROWS])
            for number, why in told.refused.items():
                log.error("publish_refused row=%d error=%s effect='the broker will never take it'", number, why)
            done = {*told.arrived, *told.refused}
            waiting = [row for row in waiting if row.id not in done]
            if waiting and time.monotonic() > deadline:
                raise SourceError("kafka: records were not taken in time; the micro-batch is run again")
    finally:
        publisher.close()
