"""The examples written in the rule files hold, and a rule without the four kinds of example is found here."""

from typing import Any

import pytest

from detector.examples import examples_of, run_examples
from pipelines.plan_files import plan_from_files, read_catalogue

PLAN = plan_from_files()
EXAMPLES = examples_of(read_catalogue()[1])
EVERY = [(rule, example) for rule, examples in EXAMPLES.items() for example in examples]


@pytest.mark.parametrize(("rule", "example"), EVERY, ids=[f"{rule} {example['name']}" for rule, example in EVERY])
def test_example(rule: str, example: dict[str, Any]) -> None:
    assert [] == run_examples(PLAN, rule, [example])


def test_all_22_rules_of_the_specification_and_the_score_have_examples() -> None:
    assert set(PLAN.rules) == set(EXAMPLES)
    assert 22 == len(set(EXAMPLES) - {"S-01"})


def answers(rule: str, example: dict[str, Any]) -> list[str]:
    """What the rule itself is expected to answer, in order of time."""
    words = []
    for _, expected in sorted(example["expect"].items(), key=lambda item: [int(part) for part in item[0].split(":")]):
        for word in str(expected).lower().split(","):
            parts = word.split()
            if parts[-1] in ("true", "false", "unknown") and (len(parts) == 1 or parts[0] == rule.lower()):
                words.append(parts[-1])
    return words


@pytest.mark.parametrize("rule", PLAN.rules)
def test_a_rule_shows_firing_not_firing_unknown_and_clearing(rule: str) -> None:
    said = [answers(rule, example) for example in EXAMPLES[rule]]

    assert any("true" in one for one in said)
    assert any(one and one[0] == "false" for one in said)
    assert any("unknown" in one for one in said)
    assert any("true" in one and one[-1] != "true" for one in said)


def mistakes(**changes: Any) -> list[str]:
    example = {"name": "n", "given": ["0:00 temp 39.0"], "expect": {"0:00": "false"}} | changes
    return run_examples(PLAN, "R-06", [example])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"given": ["0:00 temperatur 39"]}, "R-06.yaml $.examples[0].given[0]: 'temperatur' is not a signal"),
        ({"given": ["0:00 temp"]}, "R-06.yaml $.examples[0].given[0]: '0:00 temp': expected a time, a signal and a value"),
        ({"given": ["0:60 temp 39"]}, "R-06.yaml $.examples[0].given[0]: '0:60': expected hours and minutes"),
        ({"given": ["0:00 temp warm"]}, "R-06.yaml $.examples[0].given[0]: 'warm': expected a number"),
        ({"given": ["0:00 temp nan"]}, "R-06.yaml $.examples[0].given[0]: value: expected a finite number"),
        ({"given": ["0:00 temp 39 mmHg"]}, "R-06.yaml $.examples[0].given[0]: 'mmHg' is not a unit of temp"),
        ({"given": ["0:00 temp 39 sight=skin"]}, "'sight' is not an option of a reading; expected one of site"),
        ({"given": ["0:00 context sedatoin started"]}, "did you mean 'sedation'?"),
        ({"given": ["0:00 context sedation"]}, "'' is not a context event"),
        ({"given": ["0:00 context sedation given site=x"]}, "'site' is not an option of a context event"),
        ({"given": ["0:00 pump alrm"]}, "'alrm' is not a pump event"),
        ({"given": ["0:00 pump alarm lvel=critical"]}, "did you mean 'level'?"),
        ({"given": ["0:00 pump alarm level=loud"]}, "'0:00 pump alarm': Invalid enum value 'loud'"),
        ({"given": ["0:00 stay dismissed"]}, "'dismissed' is not an encounter event"),
        ({"expect": {"0:00": "critcal"}}, "R-06.yaml $.examples[0].expect['0:00']: 'critcal': expected one of"),
        ({"expect": {"0:00": "R-6 true"}}, "'R-6': no such rule or syndrome; did you mean 'R-06'?"),
        ({"expect": {"0:00": "itb_withdrawl watch"}}, "did you mean 'itb_withdrawal'?"),
        ({"expect": {"0:00": "a b c"}}, "'a b c': expected a word such as true or warning"),
        ({"expect": {}}, "R-06.yaml $.examples[0].expect: is empty; expected at least one time"),
        ({"expect": {"soon": "true"}}, "R-06.yaml $.examples[0].expect['soon']: 'soon': expected hours and minutes"),
        ({"patient": {"age": 3}}, "R-06.yaml $.examples[0].patient.age: unknown key"),
        ({"patient": {"pump": "maybe"}}, "R-06.yaml $.examples[0].patient.pump: 'maybe'"),
        ({"patient": {"baseline": {"masz": 1}}}, "R-06.yaml $.examples[0].patient.baseline.masz: no such signal"),
        ({"patient": {"conditions": {"acute_sci": "then"}}}, "R-06.yaml $.examples[0].patient.conditions.acute_sci: 'then'"),
        ({"gevin": []}, "R-06.yaml $.examples[0].gevin: unknown key"),
        ({"expect": {"0:00": "true"}}, "R-06.yaml $.examples[0].expect: 'n' at 0:00: R-06 is false; expected true"),
    ],
)  # fmt: skip
def test_a_malformed_example_is_one_line_with_its_path(changes: dict[str, Any], line: str) -> None:
    found = mistakes(**changes)

    assert any(line in one for one in found), found
    assert all(one.startswith("R-06.yaml $.examples[0]") for one in found)


def test_every_mistake_of_every_example_is_reported_at_once() -> None:
    wrong = {"name": "n", "given": ["x temp 1", "0:00 nothing 1"], "expect": {"y": "true", "0:00": "maybe"}}

    assert 8 == len(run_examples(PLAN, "R-06", [wrong, wrong]))


def test_a_rule_without_examples_is_a_mistake() -> None:
    assert ["R-06.yaml $.examples"] == [line.split(":")[0] for line in run_examples(PLAN, "R-06", [])]


def test_outside_a_stay_nothing_is_asked() -> None:
    given = ["0:00 temp 39.6", "0:00 context spasticity noted", "1:00 stay discharged"]

    assert [] == mistakes(given=given, expect={"0:00": "true, warning", "1:00": "quiet"})
    assert ["not asked; expected true"] == [
        line.split(" is ")[1] for line in mistakes(given=given, expect={"1:00": "true"})
    ]


def test_a_reading_may_arrive_late_and_be_taken_back() -> None:
    given = ["0:00 temp 39.6 id=a arrives=1:00", "0:00 context spasticity noted", "2:00 temp 39.6 id=a status=entered-in-error"]  # fmt: skip

    assert [] == mistakes(given=given, expect={"0:30": "unknown", "1:00": "true", "2:00": "unknown"})
