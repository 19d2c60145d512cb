"""``itbwatch unmapped`` on the store of a service that ran: what was not known is seen, and nobody in it."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from detector.events import Observation
from detector.plan import Plan
from pipelines.commands.unmapped import command
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.settings_file import load_settings
from pipelines.store import TICK, Store, Work
from pipelines.store import spellings as table
from pipelines.store.spellings import Spelling
from tests.pipelines.in_process import append, drain, serving

START = 1_900_022_400_000


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(Settings(models={"enabled": False}))


def config(folder: Path, **more: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(json.dumps({
        "source": "file", "time": "stream", "store": {"path": str(folder / "s.sqlite")}, "models": {"enabled": False},
        "file": {"path": str(folder / "events.ndjson"), "alerts": str(folder / "alerts.ndjson"),
                 "deadletters": str(folder / "dead.ndjson")},
        "poll": {"timeout_ms": 1, "max_records": 4}, **more,
    }))  # fmt: skip
    return path


def seen(number: int, code: str, unit: str | None, value: float = 100) -> Observation:
    at = START + number * 60_000
    return Observation(
        patient_id="Jane-Roe-4711",
        stay_id="stay-4711",
        code=code,
        unit=unit,
        value=value,
        effective_at=at,
        available_at=at,
    )


def run(path: Path, plan: Plan, *events: Observation | bytes) -> None:
    settings = load_settings(path)
    append(settings, *events)
    with serving(settings, plan) as made:
        drain(made)


def shown(path: Path, *words: str) -> Result:
    done = CliRunner().invoke(command, ["--config", str(path), *words], catch_exceptions=False)
    assert 0 == done.exit_code
    return done


def test_which_codes_and_units_were_unknown_is_seen_with_counts_and_without_anybody(tmp_path: Path, plan: Plan) -> None:
    path = config(tmp_path)
    codes = [seen(number, "http://h.example/lab|CK-M", "U/L") for number in range(7)]
    units = [seen(20 + number, "creat", "mg/dl/h") for number in range(6)]
    wrong = [seen(40 + number, "temp", "Cel", 99) for number in range(5)]
    run(path, plan, *codes, *units, *wrong, seen(60, "ck", "U/L"), seen(61, "TEXT OF SOMEBODY", None))

    text = shown(path).output
    lines = [line.split() for line in text.splitlines()]

    assert ["events.ndjson", "unknown_code", "-", "http://h.example/lab|CK-M", "U/L", "7"] == lines[1][:6]
    assert ["events.ndjson", "unknown_unit", "creat", "creat", "mg/dl/h", "6"] == lines[2][:6]
    assert ["events.ndjson", "suspect_unit", "temp", "temp", "Cel", "5"] == lines[3][:6]
    assert "4 spellings are not known; 0 were not and are now" in text
    assert "not shown: 1 that came fewer than 5 times (1 results); --all" in text
    assert "SOMEBODY" not in text
    assert "TEXT OF SOMEBODY" in shown(path, "--all").output
    assert "4711" not in shown(path, "--all").output
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as store:
        assert "4711" not in str(store.execute("select * from unmapped").fetchall())


def test_counts_go_on_after_a_restart_and_what_is_mapped_meanwhile_is_left_out(tmp_path: Path, plan: Plan) -> None:
    path = config(tmp_path)
    run(path, plan, *(seen(number, "LAB77", "U/L") for number in range(5)))
    run(path, plan, *(seen(10 + number, "LAB77", "U/L") for number in range(5)), seen(20, "\x1b[2Jcode", "\x07"))

    assert ["LAB77", "U/L", "10"] == shown(path).output.splitlines()[1].split()[3:6]
    assert r"\x1b[2Jcode" in shown(path, "--all").output

    config(tmp_path, code_map={"LAB77": {"signal": "ck"}})
    assert "LAB77" not in shown(path).output
    assert "1 spellings are not known; 1 were not and are now" in shown(path).output


def test_a_code_with_its_system_is_left_out_once_it_is_mapped_alone_or_for_its_topic(tmp_path: Path) -> None:
    found = Counter(
        Spelling("icu.observations", "unknown_code", "", code, "") for code in ("http://h|A", "|B", "http://h|C") * 5
    )
    with closing(Store(load_settings(config(tmp_path)).store)) as store:
        store.commit([Work(0, {}, {TICK: 0}, unmapped=found)])

    maps = {"observations": {"http://h|C": {"signal": "ck"}}, "context": {"B": {"signal": "ck"}}}
    path = config(tmp_path, code_map={"A": {"signal": "ck"}}, kafka={"code_maps": maps})
    assert ["B"] == [line.split()[3] for line in shown(path).output.splitlines()[1:-1]]
    followed = json.loads(path.read_text())["file"] | {"codes_of": "context"}
    path = config(tmp_path, kafka={"code_maps": maps}, file=followed)
    assert ["http://h|A"] == [line.split()[3] for line in shown(path).output.splitlines()[1:-1] if "|C" not in line]


def test_a_feed_with_ever_new_codes_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MOST_SPELLINGS", 10)
    settings = load_settings(config(tmp_path)).store

    def unknown(first: int, last: int) -> Counter[Spelling]:
        return Counter({Spelling("t", "unknown_code", "", f"{number:03}", ""): 2 for number in range(first, last)})

    with closing(Store(settings)) as store:
        store.commit([Work(0, {}, {TICK: 0}, unmapped=unknown(0, 8))])
        store.commit([Work(0, {TICK: 0}, {TICK: 1}, unmapped=unknown(5, 20))])
        store.commit([Work(0, {TICK: 1}, {TICK: 2}, unmapped=unknown(7, 8) + unknown(500, 503))])
        found = {one.spelling.code: one.results for one in store.unmapped()}

    assert 11 == len(found)  # ten, and all the others
    assert (4, 6) == (found["005"], found["007"])
    assert 2 * (8 + 15 + 4) == sum(found.values())
    assert 2 * (10 + 3) == found[""]


def test_the_store_of_before_has_none_and_a_code_is_kept_up_to_its_limit(tmp_path: Path, plan: Plan) -> None:
    path = config(tmp_path)
    run(path, plan, *(seen(number, "x" * 5_000, None) for number in range(5)))
    assert "x" * table.LONGEST in shown(path).output
    assert "x" * (table.LONGEST + 1) not in shown(path).output

    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as store:
        store.execute("drop table unmapped")
    assert "0 spellings are not known" in shown(path).output
