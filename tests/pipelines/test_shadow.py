"""A second plan on the same stream: what it would have done, stored beside, and never to the cost of the first."""

import json
from pathlib import Path

import pytest

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.events import TimeMoved
from detector.records import AlertRecord
from detector.rules.overlay import settable
from models.quarantine import GuardedModel
from pipelines.metrics import Metrics
from pipelines.model_files import open_each
from pipelines.plan_files import load_plan, read_catalogue, shadow_settings
from pipelines.settings import Settings
from pipelines.shadow import Shadow
from pipelines.simulate import Bed, events
from pipelines.store import Store
from pipelines.web.board import Board
from tests.pipelines.in_process import append, drain, file_settings, refresh, serving, without_position

START = 1_900_022_400_000
PLAN = load_plan(Settings())
MODELS = open_each(Settings(), PLAN)
CRITICAL_SCORE = settable(read_catalogue()[1]["S-01.yaml"])["escalate[3].when.all[0].score.at_least"]
OVERLAY = f"""
overlay: 1
title: quieter
because: a test
changes:
- {{rule: S-01, key: "escalate[3].when.all[0].score.at_least", from: {CRITICAL_SCORE}, to: 2.0, because: a test}}
- {{rule: R-06, key: severity, from: warning, to: watch, because: a test}}
- {{rule: C-15, key: severity, from: critical, to: warning, because: a test}}
- {{rule: R-07, key: severity, from: warning, to: watch, because: a test}}
"""


@pytest.fixture(scope="module")
def course():
    """The published case and a plain patient with a pump, and the time record that closes their stays."""
    happened = events([Bed(1, pump=True, course="published"), Bed(2, pump=True)], START, hours=30, seed=1)
    newest = max(event.available_at for event in happened)
    return [*happened, TimeMoved(at=minute_ceil(newest + 48 * HOUR + MINUTE) + 1)]


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "quieter.yaml").write_text(OVERLAY)
    return file_settings(tmp_path, records=80, shadow={"overlay": str(tmp_path / "quieter.yaml")})


def service(settings, *, models=MODELS, most_s=600.0, plan=None):
    """The service with the shadow that ``settings`` name; ``plan`` is the champion's."""
    plan = plan or PLAN
    store = Store(settings.store)
    chosen = shadow_settings(settings)
    shadow = None
    if chosen is not None:
        shadow = Shadow(load_plan(chosen), models, store, plan, most_s=most_s, kafka=False)
    guarded = {name: GuardedModel(model) for name, model in MODELS.items()}
    metrics, board = Metrics(plan, settings), Board(b"0" * 16)
    return serving(settings, plan, models=guarded, metrics=metrics, board=board, store=store, shadow=shadow)


def feed(settings, made, happened):
    append(settings, *happened)
    drain(made)
    refresh(made)


def told(lines):
    """Records without position, by key."""
    records = [json.loads(line) for line in lines]
    return sorted(map(without_position, records), key=lambda one: (one["alert_id"], one["sequence"]))


def published(settings):
    return told(Path(settings.file.alerts).read_text().splitlines())


def shadowed(made):
    run = made.store.shadow_run(0)
    return [] if run is None else told(made.store.shadow_alerts(0, run.generation))


def elsewhere(settings, folder, **changes):
    """The same site in another folder."""
    folder.mkdir()
    file = settings.file.model_copy(update={"path": str(folder / "e.ndjson"), "alerts": str(folder / "a.ndjson")})
    store = settings.store.model_copy(update={"path": str(folder / "s.sqlite")})
    return settings.model_copy(update={"file": file, "store": store, **changes})


def value(made, name, **labels):
    return made.metrics.registry.get_sample_value(name, labels)


def test_the_shadow_does_what_its_plan_does_alone_and_the_champion_what_it_does_without_it(settings, course, tmp_path):
    with service(settings) as made:
        feed(settings, made, course)
        beside = shadowed(made)
        up = value(made, "itbwatch_shadow_up")
        counted = value(made, "itbwatch_shadow_alerts_total", syndrome="itb_withdrawal", severity="warning")
    champion = elsewhere(settings, tmp_path / "champion", shadow=None)
    with service(champion) as made:
        feed(champion, made, course)

        assert shadowed(made) == []
        assert value(made, "itbwatch_shadow_up") == 0.0
    challenger = elsewhere(settings, tmp_path / "challenger", shadow=None, overlay=settings.shadow.overlay)
    with service(challenger, plan=load_plan(challenger)) as made:
        feed(challenger, made, course)

    assert published(settings) == published(champion), "the champion does not notice"
    assert beside == published(challenger), "the shadow is the other plan"
    assert beside != published(champion)
    assert up == 1.0
    assert counted == sum(
        one["state"] in ("opened", "raised") and one["severity"] == "warning" and one["syndrome"] == "itb_withdrawal"
        for one in beside
    )


def test_a_restart_goes_on_where_the_shadow_stood(settings, course, tmp_path):
    with service(settings) as made:
        feed(settings, made, course)
        whole = shadowed(made)
    parts = elsewhere(settings, tmp_path / "parts")
    for start in range(0, len(course), len(course) // 3 + 1):
        with service(parts) as made:
            feed(parts, made, course[start : start + len(course) // 3 + 1])
            run = made.store.shadow_run(0)
            after = shadowed(made)

    assert whole
    assert after == whole
    assert run.since < START


def test_after_a_while_without_it_the_shadow_begins_anew_from_the_champions_patients(settings, course):
    early = [event for event in course[:-1] if event.available_at < START + 4 * HOUR]
    middle = [event for event in course[:-1] if START + 4 * HOUR <= event.available_at < START + 8 * HOUR]
    late = [event for event in course[:-1] if event.available_at >= START + 8 * HOUR]
    with service(settings) as made:
        feed(settings, made, early)
        before = made.store.shadow_run(0)
    plain = settings.model_copy(update={"shadow": None})
    with service(plain) as made:
        feed(plain, made, middle)
    with service(settings) as made:
        feed(settings, made, [*late, course[-1]])
        after = made.store.shadow_run(0)
        inherited = [json.loads(line) for line in made.store.shadow_alerts(0, after.generation)]

    assert after.generation != before.generation
    assert after.since > START
    ids = {one["alert_id"] for one in published(settings)}
    assert inherited
    assert any(one["alert_id"] in ids and one["sequence"] > 1 for one in inherited), "it took over open alerts"


def test_another_challenger_begins_anew(settings, course, tmp_path):
    half = len(course) // 2
    with service(settings) as made:
        feed(settings, made, course[:half])
        before = made.store.shadow_run(0)
    (tmp_path / "quieter.yaml").write_text(OVERLAY.replace("2.0", "0.97"))
    with service(settings) as made:
        feed(settings, made, course[half:])
        after = made.store.shadow_run(0)

    assert before.challenger != after.challenger
    assert after.since > before.since


class Failing:
    def score(self, rows):
        raise RuntimeError


@pytest.mark.parametrize(
    "how", [{"models": MODELS | {"withdrawal": Failing()}}, {"most_s": 0.0}], ids=["raises", "slow"]
)
def test_a_shadow_that_fails_ends_and_the_champion_goes_on(settings, course, tmp_path, how):
    with service(settings, **how) as made:
        feed(settings, made, course)

        assert value(made, "itbwatch_shadow_up") == 0.0
    plain = elsewhere(settings, tmp_path / "plain", shadow=None)
    with service(plain) as made:
        feed(plain, made, course)

    assert published(settings) == published(plain)


def test_what_the_shadow_stores_is_a_whole_record(settings, course):
    import msgspec

    with service(settings) as made:
        feed(settings, made, course)
        run = made.store.shadow_run(0)
        records = [msgspec.json.decode(one, type=AlertRecord) for one in made.store.shadow_alerts(0, run.generation)]

    assert {one.provenance.plan_digest for one in records} == {run.challenger} != {run.champion}


def test_what_was_copied_from_the_champion_outlives_a_restart(settings, course, tmp_path):
    hours = [[one for one in course[:-1] if (one.available_at - START) // (4 * HOUR) == n] for n in range(9)]
    parts = [hours[0], hours[1], [event for some in hours[2:] for event in some] + course[-1:]]
    seen = []
    for name, stops in (("whole", 1), ("stopped", 2)):
        site = elsewhere(settings, tmp_path / name)
        with service(site.model_copy(update={"shadow": None})) as made:
            feed(site, made, parts[0])
        rest = [[*parts[1], *parts[2]]] if stops == 1 else parts[1:]
        for part in rest:
            with service(site) as made:
                feed(site, made, part)
        with service(site) as made:
            feed(site, made, [])
            seen.append(shadowed(made))

    assert seen[0]
    assert seen[0] == seen[1]
