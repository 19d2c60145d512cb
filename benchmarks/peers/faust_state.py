"""Faust: the last value of each code of each patient in a table in memory, and nothing else."""

import os
import resource
import sys
import time
import uuid

import faust

bootstrap, topic, partitions, total, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
app = faust.App(
    uuid.uuid4().hex,
    broker=f"kafka://{bootstrap}",
    store="memory://",
    topic_partitions=partitions,
    topic_disable_leader=True,
    web_enabled=False,
    datadir=f"{folder}/{uuid.uuid4().hex}",
)
app.conf.consumer_auto_offset_reset = "earliest"
table = app.Table("last", default=dict, partitions=partitions)
records = app.topic(topic, value_type=dict, value_serializer="json")
marks = []
seen = 0


def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return seen, time.monotonic(), used.ru_utime + used.ru_stime


@app.agent(records)
async def update(stream):
    global seen  # noqa: PLW0603 - a script of one count
    async for value in stream:
        known = table[value["patient_id"]]
        known[value["code"]] = value["value"]
        table[value["patient_id"]] = known
        seen += 1
        if seen in (total // 20, total - total // 20):
            marks.append(spent())
            if len(marks) == 2:
                print(*(last - first for first, last in zip(*marks, strict=True)), flush=True)
                os._exit(0)


if __name__ == "__main__":
    faust.Worker(app, loglevel="error").execute_from_commandline()
