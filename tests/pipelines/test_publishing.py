"""A topic that takes nothing is seen and told; of alerts the publisher is made anew, and then the process ends."""

from contextlib import closing
from types import SimpleNamespace

import pytest

from pipelines.errors import NoProgress
from pipelines.outbox import Told
from pipelines.publishing import Publishing
from pipelines.settings import Store as StoreSettings
from pipelines.store import Outgoing, Store, Work
from tests.pipelines.in_process import Unheard

STALL_S = 10.0


class Sink:
    """A publisher whose topics are shut until they are opened."""

    def __init__(self):
        self.open, self.made_anew = set(), 0

    def publish(self, rows):
        return Told([row.id for row in rows if row.record.topic in self.open], {})

    def begin_again(self):
        self.made_anew += 1


@pytest.fixture
def site(tmp_path):
    """A store with an alert and an export that wait, and a clock."""
    made = SimpleNamespace(now=0.0, sink=Sink(), answers=True)
    with closing(Store(StoreSettings(path=str(tmp_path / "s.sqlite")))) as store:
        store.commit([Work(0, {}, {"t": 1}, outgoing=[Outgoing(t, b"k", b"{}", 1) for t in ("alerts", "fhir")])])
        made.store = store
        made.publishing = Publishing(
            store, made.sink, Unheard(), STALL_S, answers=lambda: made.answers, monotonic=lambda: made.now
        )
        yield made


def publish(site, *at):
    told = []
    for site.now in at:
        told.append(set(site.publishing.publish([0])))
    return told


def test_a_topic_of_which_nothing_leaves_is_told_once_and_how_long_it_has_been(site):
    assert [set(), set(), {"alerts", "fhir"}, set()] == publish(site, 0, 9, 10, 11)

    assert {"alerts", "fhir"} == site.publishing.stalled
    assert (11.0, 0.0) == (site.publishing.waiting_s("alerts"), site.publishing.waiting_s("merges"))


def test_it_is_told_by_topic_and_again_after_it_went_on(site):
    publish(site, 0, 10)
    site.sink.open.add("alerts")

    assert [set()] == publish(site, 12)
    assert ({"fhir"}, 0.0) == (site.publishing.stalled, site.publishing.waiting_s("alerts"))

    site.sink.open.clear()
    site.store.commit([Work(0, {"t": 1}, {"t": 2}, outgoing=[Outgoing("alerts", b"k", b"{}", 1)])])

    assert [set(), {"alerts"}] == publish(site, 20, 30)


def test_of_alerts_the_publisher_is_made_anew_three_times_and_then_it_gives_up(site):
    publish(site, 0, 10, 15, 20, 30, 39)
    assert 3 == site.sink.made_anew

    with pytest.raises(NoProgress, match="alerts: none has left for 40 s though a broker answers"):
        publish(site, 40)


def test_while_no_broker_answers_nothing_is_made_anew(site):
    site.answers = False
    publish(site, *range(0, 600, 5))
    assert 0 == site.sink.made_anew
    assert 595.0 == site.publishing.waiting_s("alerts")

    site.answers = True
    publish(site, 600)
    assert 0 == site.sink.made_anew, "it has had no chance yet"

    publish(site, 605)
    assert 1 == site.sink.made_anew


def test_an_export_that_takes_nothing_ends_nothing(site):
    site.sink.open.add("alerts")
    publish(site, *range(0, 600, 5))

    assert (0, {"fhir"}) == (site.sink.made_anew, site.publishing.stalled)
