"""A model that is kept out is an event in event time: stored, alarmed, kept by a restart, and seen by a re-run."""

import json

import pytest

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.engine import Ward, run
from detector.events import Ticked, TimeMoved
from models.quarantine import GuardedModel, Scheduled
from pipelines.datasets import open_dataset
from pipelines.formats.canonical import decode_journal, encode
from pipelines.metrics import Metrics
from pipelines.model_files import open_each
from pipelines.outages import ModelEvent, decode, outages
from pipelines.outages import encode as encode_event
from pipelines.plan_files import load_plan
from pipelines.replay import replay
from pipelines.settings import Settings
from pipelines.simulate import Bed, events
from pipelines.web.board import Board
from tests.pipelines.in_process import alert_lines, append, drain, file_settings, refresh, serving, without_position

START = 1_900_022_400_000
PLAN = load_plan(Settings())
MODELS = open_each(Settings(), PLAN)


class Failing:
    """A shipped model that fails from some instant of its rows on."""

    def __init__(self, model, after, how=RuntimeError):
        self.model, self.after, self.how, self.asked = model, after, how, 0

    def score(self, rows):
        self.asked += 1
        if max(row.at for row in rows) > self.after:
            raise self.how
        return self.model.score(rows)


@pytest.fixture(scope="module")
def course():
    """The published case and a second patient with a pump, and the time record that closes their stays."""
    happened = events([Bed(1, pump=True, course="published"), Bed(2, pump=True)], START, hours=40, seed=1)
    newest = max(event.available_at for event in happened)
    return [*happened, TimeMoved(at=minute_ceil(newest + 48 * HOUR + MINUTE) + 1)]


@pytest.fixture
def settings(tmp_path):
    return file_settings(tmp_path, records=60)


def service(settings, models, plan=PLAN, *, restore=False):
    metrics = Metrics(plan, settings)
    guarded = {
        name: GuardedModel(model, told=lambda _, name=name: metrics.model_quarantined(name, quarantined=True))
        for name, model in models.items()
    }
    return serving(settings, plan, models=guarded, metrics=metrics, board=Board(b"0" * 16), restore_models=restore)


def feed(settings, made, happened):
    append(settings, *happened)
    drain(made)


def published(settings, syndrome=None):
    return [one for one in alert_lines(settings) if syndrome is None or one["syndrome"] == syndrome]


def gauge(made, model):
    return made.metrics.registry.get_sample_value("itbwatch_model_quarantined", {"model": model})


def test_a_model_that_raises_is_out_from_there_told_once_and_the_rules_go_on(settings, course):
    failing = Failing(MODELS["withdrawal"], START + 10 * HOUR)
    with service(settings, MODELS | {"withdrawal": failing}) as made:
        feed(settings, made, course)
        stored = made.store.model_events(0)
        refresh(made)
        text = made.metrics.text().decode()

        assert (gauge(made, "withdrawal"), gauge(made, "joint")) == (1.0, 0.0)
    assert [(one.model, one.event, one.reason) for one in stored] == [("withdrawal", "quarantined", "raised")]
    assert stored[0].after >= START + 5 * HOUR
    technical = published(settings, "technical")
    assert [(one["state"], one["severity"], one["reason"]) for one in technical] == [("opened", "watch", "raised")]
    assert technical[0]["evidence"][0]["signal"] == "withdrawal"
    assert 'itbwatch_alerts_total{severity="watch",syndrome="technical",unit="other"} 1.0' in text
    assert 'itbwatch_alerts_active{severity="watch",syndrome="technical",unit="other"} 1.0' in text
    late = [one for one in published(settings, "itb_withdrawal") if one["severity"] == "critical"]
    assert late, "the rules go on"


@pytest.mark.parametrize("records", [7, 37, 5_000])
def test_the_stored_inputs_run_again_to_the_stored_alerts(settings, course, records):
    settings = settings.model_copy(update={"poll": settings.poll.model_copy(update={"max_records": records})})

    with service(settings, MODELS | {"withdrawal": Failing(MODELS["withdrawal"], START + 6 * HOUR)}) as made:
        feed(settings, made, course)
        out = outages(made.store.model_events(0))
        again = []
        for patient_id in {event.patient_id for event in course[:-1]}:
            lines = made.store.journal(patient_id).splitlines()
            scorer = Scheduled(MODELS, out)
            again += run(PLAN, Ward(PLAN), [*map(decode_journal, lines), Ticked(course[-1].at)], scorer).records
    told = [without_position(one) for one in published(settings) if one["syndrome"] != "technical"]
    expected = [without_position(json.loads(one.to_json())) for one in again]

    def key(one):
        return one["alert_id"], one["sequence"]

    assert sorted(told, key=key) == sorted(expected, key=key)
    assert any("quarantined" in line for one in told for line in one["missing"]), "the outage shows in some record"


def test_a_restart_keeps_it_out_until_the_operator_or_another_artefact_takes_it_back(settings, course):
    cut = [[event for event in course[:-1] if (event.available_at - START) // (10 * HOUR) == n] for n in range(4)]
    failing = Failing(MODELS["withdrawal"], START + 5 * HOUR)
    with service(settings, MODELS | {"withdrawal": failing}) as made:
        feed(settings, made, cut[0])
    never = Failing(MODELS["withdrawal"], START - 1)
    with service(settings, MODELS | {"withdrawal": never}) as made:
        feed(settings, made, cut[1])

        assert gauge(made, "withdrawal") == 1.0
        assert 1 == len(made.store.model_events(0))
        assert [record.syndrome for _, record in made._board.alerts()].count("technical") == 1
    assert never.asked == 0, "it was not asked once"
    with service(settings, MODELS, restore=True) as made:
        feed(settings, made, cut[2])

        assert gauge(made, "withdrawal") == 0.0
        assert [(one.event, one.reason) for one in made.store.model_events(0)] == [
            ("quarantined", "raised"), ("restored", "taken_back")]  # fmt: skip
    assert [one["state"] for one in published(settings, "technical")] == ["opened", "resolved"]
    with service(settings, MODELS) as made:
        feed(settings, made, cut[3])

        assert gauge(made, "withdrawal") == 0.0
        assert 2 == len(made.store.model_events(0)), "back is back"


def test_another_artefact_begins_anew(settings, course):
    from msgspec.structs import replace

    half = len(course) // 2
    with service(settings, MODELS | {"joint": Failing(MODELS["joint"], START)}) as made:
        feed(settings, made, course[:half])
    newer = replace(PLAN, models=PLAN.models | {"joint": "retrained"})
    with service(settings, MODELS, newer) as made:
        feed(settings, made, course[half:])
        stored = made.store.model_events(0)

    assert [(one.event, one.reason, one.artefact) for one in stored] == [
        ("quarantined", "raised", PLAN.models["joint"]), ("restored", "new_artefact", "retrained")]  # fmt: skip
    assert [one.until < 1 << 62 for one in outages(stored)] == [True]


def test_a_replay_of_a_file_with_the_outage_leaves_the_model_out_of_the_same_rows(tmp_path, course):
    def replayed(*events_of_models):
        path = tmp_path / "events.ndjson"
        path.write_bytes(
            b"".join(line + b"\n" for line in (*map(encode_event, events_of_models), *map(encode, course)))
        )
        return replay(open_dataset("canonical", (path,), stays=None, pumps=None, context=None), Settings())

    after = START + 6 * HOUR
    out = ModelEvent("withdrawal", "quarantined", after, "raised", "a")
    back = ModelEvent("withdrawal", "restored", after + 5 * HOUR, "taken_back", "a")
    whole, without = replayed(), replayed(out, back)

    counted = without.counts["scores_indeterminate_total", "withdrawal", "quarantined"]
    assert decode(encode_event(out)) == out
    assert whole.counts["scores_indeterminate_total", "withdrawal", "quarantined"] == 0
    assert 8 <= counted <= 10, "two patients, five hours"
    assert not without.rejected


def test_a_model_that_fails_in_a_replay_is_left_out_of_that_patient_alone(course, tmp_path):
    from pipelines.replay import run_share

    class FailsOnOne:
        def score(self, rows):
            if any(row.patient_id == course[0].patient_id for row in rows):
                raise RuntimeError
            return MODELS["withdrawal"].score(rows)

    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(encode(event) + b"\n" for event in course))
    dataset = open_dataset("canonical", (path,), stays=None, pumps=None, context=None)
    outcome = run_share(PLAN, MODELS | {"withdrawal": FailsOnOne()}, dataset)
    plain = run_share(PLAN, MODELS, dataset)

    def others(done):
        return [one.to_json() for one in done.records if one.patient_id != course[0].patient_id]

    assert outcome.counts["scores_indeterminate_total", "withdrawal", "quarantined"] > 0
    assert others(outcome) == others(plain)
