"""What an event costs against the length of the history: engine and rules of ours, and psdl-lang on a scenario like ours.

One gated patient of heart rate, pressures, rate, saturation and temperature once a minute and creatinine once in four hours.
Ours is the whole of `detector.engine.run` for one more minute of readings (picture, trends, rules, alerts), psdl-lang one
evaluation of seven trends and five rules. Longer histories than an engine keeps are kept as it keeps them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

from benchmarks.table import Line, interleaved
from benchmarks.ward import VITALS, vital
from detector.clock import MINUTE
from detector.engine import Ward, run
from detector.events import Encounter, Event, Observation, Pump, Ticked
from pipelines.plan_files import load_plan
from pipelines.settings import Settings

START = 1_900_022_400_000
HISTORIES = (50, 200, 1_000, 10_000)
"""Readings."""
MEASURED = 60
"""Minutes."""
PSDL = Path(__file__).with_name("peers") / "psdl_rules.py"


def readings(minute: int) -> Iterator[Event]:
    """A minute of the patient, and the tick that ends it."""
    at = START + minute * MINUTE
    for code, (unit, value, spread) in VITALS.items():
        said = vital(value, spread, minute)
        yield Observation(patient_id="p", code=code, value=said, unit=unit, effective_at=at, available_at=at)
    if minute % 240 == 0:
        yield Observation(patient_id="p", code="creat", value=0.8, unit="mg/dL", effective_at=at, available_at=at)
    yield Ticked(at + MINUTE)


def ours(history: int) -> Callable[[], float]:
    """Microseconds of processor time an observation, after so many."""
    plan = load_plan(Settings())

    def measured() -> float:
        ward = Ward(plan)
        begin: list[Event] = [
            Encounter(patient_id="p", stay_id="s", event="admitted", at=START, available_at=START),
            Pump(patient_id="p", event="implanted", at=START, available_at=START),
        ]
        minutes = max(1, history // len(VITALS))
        before = [event for minute in range(minutes) for event in readings(minute)]
        run(plan, ward, [*begin, *before], None)
        after = [list(readings(minute)) for minute in range(minutes, minutes + MEASURED)]
        began = process_time()
        for some in after:
            run(plan, ward, some, None)
        return 1e6 * (process_time() - began) / (MEASURED * len(VITALS))

    return measured


def psdl(python: Path) -> dict[int, float]:
    """Microseconds an evaluation of psdl-lang, by history. Empty = it is not installed."""
    if not python.exists():
        return {}
    said = subprocess.run([python, PSDL, *map(str, HISTORIES)], capture_output=True, text=True, check=True).stdout
    return {int(history): us for history, us in json.loads(said).items()}


def lines(rounds: int, python: Path) -> list[Line]:
    """Costs, and how they grow."""
    cost = interleaved(rounds, {str(history): ours(history) for history in HISTORIES})
    peer = psdl(python)
    made = [
        Line(
            f"rules and trends, {history:,} readings of history",
            cost[str(history)],
            "us an event",
            note=f"psdl-lang {peer[history]:.0f} us an evaluation" if peer else "",
        )
        for history in HISTORIES
    ]
    made.append(Line("the same, 1,000 over 50 readings", cost["1000"] / cost["50"], "ratio", 1.2, at_most=True))
    if peer:
        made.append(Line("psdl-lang over ours, 1,000 readings", peer[1_000] / cost["1000"], "ratio", 20))
    return made
