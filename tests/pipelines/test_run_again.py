"""The journal run again: the records of the first run, whatever made them, and the answers at the instant of each."""

import pytest
from msgspec.structs import replace

from detector.clock import HOUR, MINUTE, last_tick_before, minute_ceil
from detector.engine import Ward, run
from detector.events import Observation, Ticked
from detector.rules.truth import TRUE
from pipelines.formats.times import parse_time
from pipelines.journal import journal
from pipelines.model_files import open_scorer
from pipelines.plan_files import load_plan
from pipelines.run_again import as_scenario, events_of, run_again
from pipelines.settings import Settings
from pipelines.simulate import Bed, events
from pipelines.ticks import NO_TIME

PLAN = load_plan(Settings())
SCORER = open_scorer(Settings(), PLAN)
ARRIVES = 1_900_022_400_000
ONE_LATE_IN = 7
BATCH = 50


@pytest.fixture(scope="module")
def folded():
    """The published case as a service folds it: ticks between, and every seventh observation two hours late."""
    course = events([Bed(1, pump=True, course="published")], ARRIVES, hours=96, seed=1)
    late = [n for n, event in enumerate(course) if isinstance(event, Observation)][::ONE_LATE_IN]
    arrived = sorted((event.available_at + 2 * HOUR * (n in late), n) for n, event in enumerate(course))
    made, ticked = [], NO_TIME
    for at, number in arrived:
        if (tick := last_tick_before(at)) > ticked:
            ticked = tick
            made.append(Ticked(tick))
        made.append(course[number])
    return [*made, Ticked(minute_ceil(arrived[-1][0] + 49 * HOUR))]


@pytest.fixture(scope="module")
def records(folded):
    return run(PLAN, Ward(PLAN), folded, SCORER).records


@pytest.fixture(scope="module")
def kept(folded):
    """What the store gives back of it: the journals of its batches, in a row."""
    lines, ticked = b"", NO_TIME
    for start in range(0, len(folded), BATCH):
        batch = folded[start : start + BATCH]
        lines += b"".join(payload for _, payload in journal(batch, ticked))
        ticked = max([ticked, *(event.at for event in batch if isinstance(event, Ticked))])
    return events_of(lines)


def test_every_record_comes_out_again_with_the_answers_of_its_instant(records, kept):
    upto = parse_time(records[-1].at)

    first_of_each = {record.state: record for record in reversed(records)}

    assert {"opened", "raised", "amended", "reminded", "resolved"} <= first_of_each.keys()
    for record in first_of_each.values():
        again = run_again(PLAN, SCORER, kept, record, upto)

        assert records == list(again.records.values())
        if record.state == "resolved":
            assert {} == again.found, "nothing is asked once the stay is over"
        for rule in {line.rule for line in record.evidence} & set(PLAN.rules):
            assert TRUE == again.found[rule].truth


def test_a_tick_alone_made_a_reminder_and_the_answers_are_those_of_its_minute(records, kept):
    reminder = next(record for record in records if record.state == "reminded")
    newest = max(event.available_at for event in kept if not isinstance(event, Ticked))

    assert 0 == parse_time(reminder.at) % MINUTE
    assert parse_time(reminder.at) < newest
    assert (
        run_again(PLAN, SCORER, kept, reminder, newest).found != run_again(PLAN, SCORER, kept, records[0], newest).found
    )


def test_a_scenario_stands_in_the_order_of_deciding_and_says_when_each_event_was_decided(folded, kept):
    scenario = list(as_scenario(kept))
    times = [event.available_at for event in scenario]
    before = [event for event in folded if not isinstance(event, Ticked)]

    assert sorted(times) == times
    assert len(before) == len(scenario)
    for was, event in zip(before, scenario, strict=True):
        assert was == replace(event, available_at=was.available_at)
        assert was.available_at <= event.available_at <= was.available_at + 2 * HOUR
    assert any(was != event for was, event in zip(before, scenario, strict=True))
