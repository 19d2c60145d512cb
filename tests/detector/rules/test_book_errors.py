"""A wrong rule file: every mistake at once, each with its path, the value, what was expected and the nearest name."""

from copy import deepcopy
from typing import Any

import pytest

from detector.catalogue.strict import Problems
from detector.errors import ConfigError
from detector.plan import Plan
from detector.rules.building import build_book
from detector.rules.compiling import Compiler
from pipelines.plan_files import read_catalogue

FILES = read_catalogue()[1]


def compiled(plan: Plan, when: object) -> list[str]:
    problems = Problems("R-06.yaml")
    term = Compiler(plan.catalogue, plan.book.tables, frozenset({"R-06", "W-03"}), problems).compile(when, "$.when")
    assert (term is None) or problems.lines
    return problems.lines


TEMP = {"signal": "temp", "within": "PT2H"}


@pytest.mark.parametrize(
    ("when", "line"),
    [
        ("always", "$.when: 'always': expected a mapping with one key"),
        ({"a": 1, "b": 2}, "$.when: {'a': 1, 'b': 2}: expected a mapping with one key"),
        ({"readin": {}}, "$.when.readin: no such condition; expected one of"),
        ({"readin": {}}, "did you mean 'reading'?"),
        ({"all": []}, "$.when.all: []: expected a list of conditions"),
        ({"any": {"rule": "W-03"}}, "expected a list of conditions"),
        ({"not": {"ruel": 1}}, "$.when.not.ruel: no such condition"),
        ({"not_known": 1}, "$.when.not_known: 1: expected a mapping"),
        ({"rule": "W-3"}, "$.when.rule: 'W-3' is not a rule; did you mean 'W-03'?"),
        ({"at_least": {"n": 2}}, "$.when.at_least: {'n': 2}: expected n and of"),
        ({"at_least": {"n": 2, "of": 3}}, "$.when.at_least.of: 3: expected a list of conditions"),
        ({"points": {"name": "x", "at_least": 1}}, "$.when.points: 'items' is missing"),
        ({"points": {"name": "x", "at_least": 1, "items": [{"points": 1}]}}, "$.when.points.items[0]: 'when' is missing"),
        ({"points": {"name": "x", "at_least": 1, "items": [{"points": 1, "when": {}}]}}, "$.when.points.items[0].when: {}"),
        ({"reading": {"signal": "tmp", "within": "PT2H", "above": 1}}, "$.when.reading.signal: 'tmp' is not a signal; did you mean 'temp'?"),
        ({"reading": TEMP}, "$.when.reading: expected exactly one of at_least, above, at_most, below"),
        ({"reading": TEMP | {"above": 1, "below": 2}}, "expected exactly one of"),
        ({"reading": TEMP | {"abov": 1}}, "$.when.reading.abov: unknown key"),
        ({"reading": {"signal": "temp", "within": "2h", "above": 1}}, "'2h'"),
        ({"reading": TEMP | {"above": 1, "sites": ["rectum"]}}, "'rectum' is not a site; did you mean 'rectal'?"),
        ({"reading": TEMP | {"above": {"uln": 3}}}, "$.when.reading.above: {'uln': 3}: expected a number, uln_times"),
        ({"reading": TEMP | {"above": {"by_age": "hr"}}}, "expected a number, uln_times (and floor), uln_plus, base_plus"),
        ({"reading": TEMP | {"above": 1, "since": {"pump": ["restord"]}}}, "'restord' is not a pump event; did you mean 'restored'?"),
        ({"rise": {"signal": "temp"}}, "$.when.rise: 'by' is missing"),
        ({"fall": {"signal": "x", "fraction": 0.5, "within": "PT1H"}}, "$.when.fall: 'x' is not a signal"),
        ({"range": {"signal": "x", "at_least": 1, "within": "PT1H"}}, "$.when.range: 'x' is not a signal"),
        ({"swing": {}}, "$.when.swing: 'signal' is missing"),
        ({"grows": {}}, "$.when.grows: 'signal' is missing"),
        ({"responded": {}}, "$.when.responded: 'signal' is missing"),
        ({"no_reading": {}}, "$.when.no_reading: 'signal' is missing"),
        ({"base_unknown": "x"}, "$.when.base_unknown: 'x' is not a signal"),
        ({"kidney_injury": {"stage": 4}}, "$.when.kidney_injury.stage: 4"),
        ({"urine_below": {}}, "$.when.urine_below: 'ml_per_kg_h' is missing"),
        ({"pump": {}}, "$.when.pump: 'event' is missing"),
        ({"pump": {"event": ["alram"]}}, "$.when.pump: 'alram' is not a pump event; did you mean 'alarm'?"),
        ({"pump": {"event": ["alarm"], "reason": ["stall"]}}, "'stall' is not a reason of an alarm; did you mean 'motor_stall'?"),
        ({"pump_status": 5}, "$.when.pump_status: 5: expected a list of present, absent, explanted, unknown"),
        ({"pump_status": ["presnt"]}, "$.when.pump_status: 'presnt' is not a pump status; did you mean 'present'?"),
        ({"context": {"kind": ["fall"], "event": ["notd"]}}, "'notd' is not a context event; did you mean 'noted'?"),
        ({"reading": TEMP | {"above": {"base_plus": "40"}}}, "$.when.reading.above: {'base_plus': '40'}: expected a number, uln_times"),
        ({"pump": {"event": ["alarm"], "after_rule": "R-6"}}, "$.when.pump.after_rule: 'R-6' is not a rule"),
        ({"context": {}}, "$.when.context: 'kind' is missing"),
        ({"context": {"kind": ["sedaton"]}}, "$.when.context: 'sedaton' is not a kind of context; did you mean 'sedation'?"),
        ({"condition": {}}, "$.when.condition: 'code' is missing"),
        ({"age": {"below": "x"}}, "$.when.age.below: 'x'"),
        ({"passed_since": {}}, "$.when.passed_since: 'pump' is missing"),
        ({"was": {"rule": ["R-07"], "within": "PT1H"}}, "$.when.was: 'R-07' is not a rule"),
        ({"held": {"rule": "R-07", "less_than": "PT1H"}}, "$.when.held: 'R-07' is not a rule"),
        ({"began": {"rule": "R-07", "times": 2, "within": "PT1H"}}, "$.when.began: 'R-07' is not a rule"),
    ],
)  # fmt: skip
def test_a_condition_that_is_wrong_says_where_what_and_what_was_expected(plan: Plan, when: object, line: str) -> None:
    lines = compiled(plan, when)

    assert any(line in one for one in lines), lines
    assert all(one.startswith("R-06.yaml $.when") for one in lines)


def test_every_mistake_of_a_condition_is_reported(plan: Plan) -> None:
    when = {"all": [{"rule": "x"}, {"any": [{"reading": {}}, {"pump": {"event": ["y"]}}]}, {"z": 1}]}

    assert {
        "$.when.all[0].rule:",
        "$.when.all[1].any[0].reading:",
        "$.when.all[1].any[1].pump:",
        "$.when.all[2].z:",
    } == {line.split()[1] for line in compiled(plan, when)}


def book_errors(plan: Plan, change: Any) -> list[str]:
    files = deepcopy(FILES)
    change(files)
    with pytest.raises(ConfigError) as caught:
        build_book(files, plan.catalogue, pump_register_complete=False)
    return list(caught.value.problems)


def put(file: str, **keys: Any) -> Any:
    return lambda files: files[file].update(keys)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda files: files.pop("guards.yaml"), "guards.yaml $: expected a mapping; the file is missing or empty"),
        (lambda files: files.pop("CTX-01.yaml"), "CTX-01.yaml $: expected the rule of the pump gate"),
        (put("R-06.yaml", id="R-6"), "R-06.yaml $.id: 'R-6' does not match the file's name"),
        (put("R-06.yaml", kind="ruel"), "R-06.yaml $.kind: 'ruel'"),
        (put("R-06.yaml", severity="critcal"), "R-06.yaml $.severity: 'critcal': expected one of info, watch, warning, critical; did you mean 'critical'?"),
        (put("R-06.yaml", escalate=[{"to": "critical"}]), "R-06.yaml $.escalate[0]: 'when' is missing"),
        (put("R-06.yaml", raises={"steps": "one"}), "R-06.yaml $.raises.steps: 'one'"),
        (put("L-18.yaml", lowers={"steps": 1, "floor": "low"}), "L-18.yaml $.lowers.floor: 'low'"),
        (put("L-17.yaml", lowers={"steps": 1, "floor": "info", "rules": ["W-4"]}), "L-17.yaml $: 'W-4' is not a rule; did you mean 'W-04'?"),
        (put("L-16.yaml", suppresses={"syndrome": "itb_withdrawal"}), "L-16.yaml $.suppresses: 'when' is missing"),
        (put("L-20.yaml", quiets={"rules": ["W-05"]}), "L-20.yaml $.quiets: 'when' is missing"),
        (put("R-08.yaml", unknown_when={"contxt": {}}), "R-08.yaml $.unknown_when.contxt: no such condition"),
        (put("R-06.yaml", when={"rule": "R-06"}), "R-06 $.when: names itself through R-06 -> R-06"),
        (put("definitions.yaml", definitions={"x": {"when": {"rule": "W-03"}}}), "definitions.yaml $.definitions.x: 'means' is missing"),
        (lambda files: files["definitions.yaml"]["definitions"]["any-w-or-r"].update(run_gap="12h"), "definitions.yaml $.definitions.any-w-or-r.run_gap: '12h'"),
        (put("guards.yaml", caps={"G-5": {"to": "watch"}}), "guards.yaml $.caps.G-5: 'rules' is missing"),
        (put("guards.yaml", masks={"G-4": {"title": "t", "running": ["sedation"], "effect": "unknown", "cited": [], "signals": ["gsc"]}}), "guards.yaml $.masks.G-4: 'gsc' is not a signal; did you mean 'gcs'?"),
        (put("guards.yaml", masks={"G-4": {"title": "t"}}), "guards.yaml $.masks.G-4: 'running' is missing"),
        (put("guards.yaml", masks={"G-4": {"title": "t", "running": ["sedatoin"], "effect": "unknown", "cited": []}}), "guards.yaml $.masks.G-4: 'sedatoin' is not a kind of context; did you mean 'sedation'?"),
        (put("guards.yaml", caps={"G-5": {"title": "t", "rules": ["R-99"], "to": "watch", "unless": {"rule": "W-03"}, "cited": []}}), "guards.yaml $.caps.G-5.rules: 'R-99' is not a rule"),
        (put("guards.yaml", caps=["G-5"]), "guards.yaml $.caps: expected a mapping"),
        (put("definitions.yaml", tables={"hr_hi": {"source": "s", "values": [{"below_year": 1, "value": 1}]}}), "definitions.yaml $.tables.hr_hi.values[0]"),
        (put("W-03.yaml", syndrome="itb_withdrawl"), "W-03.yaml $.syndrome: 'itb_withdrawl' is not a syndrome; did you mean 'itb_withdrawal'?"),
        (put("bedside.yaml", against=[{"text": "x"}]), "bedside.yaml $.against[0]: 'when' is missing"),
        (put("bedside.yaml", missing=[{"signal": "temp"}]), "bedside.yaml $.missing[0]: 'within' is missing"),
        (put("bedside.yaml", panel=["tmep"]), "bedside.yaml $.panel: 'tmep' is not a signal; did you mean 'temp'?"),
        (put("bedside.yaml", scores=[{"name": "x"}]), "bedside.yaml $.scores[0].points: 'at_least' is missing"),
        (put("bedside.yaml", pump_status_query=None), "bedside.yaml $.pump_status_query: None is not a mapping"),
    ],
)  # fmt: skip
def test_a_book_that_is_wrong_is_refused_with_the_file_and_the_path(plan: Plan, change: Any, line: str) -> None:
    lines = book_errors(plan, change)

    assert any(line in one for one in lines), lines


def test_the_mistakes_of_all_files_come_at_once(plan: Plan) -> None:
    def change(files: dict[str, Any]) -> None:
        files["R-06.yaml"]["severity"] = "loud"
        files["R-07.yaml"]["when"] = {"nothing": 1}
        files["bedside.yaml"]["panel"] = ["x"]

    assert {"R-06.yaml", "R-07.yaml", "bedside.yaml"} == {line.split()[0] for line in book_errors(plan, change)}
