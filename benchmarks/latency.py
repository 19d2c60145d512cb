"""From the broker's append of a reading to its alert on the topic, at a steady rate, with a commit for every poll.

5,000 patients, 2 % with a pump, send their heart rates at the rate asked for; every fifth of a second one more patient gets a
rectal temperature that is critical by itself. The clock is that of this machine on both sides, and the way includes the
alert's own topic.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.boards import Feed, Heard, measured, percentile
from benchmarks.table import Line
from tests.kafka.broker import Broker, create_topics
from tests.pipelines.live import Site

PATIENTS, GATED = 5_000, 50
"""One of GATED has a pump."""
PARTITIONS = 2
AIMS = {1_000: (None, None), 5_000: (0.1, 0.3)}
"""Records a second: p50 and p99 to reach, seconds."""


def latencies(rate: int, seconds: float) -> list[float]:
    """Sorted, in seconds."""
    with ExitStack() as opened, tempfile.TemporaryDirectory() as folder:
        broker = opened.enter_context(Broker())
        site = Site(
            broker.bootstrap, "late.", Path(folder), time="wall", merge_idle_ms=0,
            poll={"timeout_ms": 50, "max_records": 2_000},
        )  # fmt: skip
        create_topics(broker.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), PARTITIONS))
        feed = opened.enter_context(closing(Feed(broker.bootstrap, "late.", rate, PATIENTS)))
        heard = Heard(broker.bootstrap, "late.alerts")
        heard.start()
        stream = opened.enter_context(site.streaming())
        stream.wait(lambda: len(stream.lags()) == 6 * PARTITIONS)
        for number in range(PATIENTS):
            feed.admit(f"calm-{number}", pump=number % GATED == 0)
        stream.wait(lambda: max(stream.lags()) < 100)
        began = time.perf_counter()
        stream.get("metrics")
        print(f"    scrape of {PATIENTS:,} patients: {1000 * (time.perf_counter() - began):.0f} ms", flush=True)
        return measured(feed, heard, seconds)


def lines(seconds: float = 60) -> list[Line]:
    """p50, p99 and p99.9 at each rate."""
    made = []
    for rate, (half, most) in AIMS.items():
        taken = latencies(rate, seconds)
        for share, aim in ((0.5, half), (0.99, most), (0.999, None)):
            what = f"append to alert on the topic, {rate:,} records/s, p{100 * share:g}"
            made.append(Line(what, percentile(taken, share), "s", aim, at_most=True, note=f"{len(taken)} alerts"))
    return made
