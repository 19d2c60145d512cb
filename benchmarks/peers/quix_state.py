"""Quix Streams: the last value of each code of each patient in its state, and nothing else; without a changelog topic."""

import resource
import sys
import time
import uuid

from quixstreams import Application

bootstrap, topic, total, folder = sys.argv[1], sys.argv[2], int(sys.argv[4]), sys.argv[5]
app = Application(
    broker_address=bootstrap,
    consumer_group=uuid.uuid4().hex,
    auto_offset_reset="earliest",
    state_dir=f"{folder}/{uuid.uuid4().hex}",
    use_changelog_topics=False,
    loglevel="ERROR",
)
marks = []
seen = 0


def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return seen, time.monotonic(), used.ru_utime + used.ru_stime


def update(value, state):
    global seen  # noqa: PLW0603 - a script of one count
    state.get(value["code"])
    state.set(value["code"], value["value"])
    seen += 1
    if seen in (total // 20, total - total // 20):
        marks.append(spent())
        if len(marks) == 2:
            app.stop()


app.dataframe(app.topic(topic, value_deserializer="json")).update(update, stateful=True)
app.run()
print(*(last - first for first, last in zip(*marks, strict=True)))
