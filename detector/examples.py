"""The examples in a rule file: a short course and what the rule says at some of its instants.

    - name: fires on two readings of 39.0 half an hour apart with raised tone
      patient: {age_years: 24}
      given: ["0:00 temp 39.0", "0:30 context spasticity noted", "0:30 temp 39.0"]
      expect: {"0:00": false, "0:30": "true, warning", "3:00": false}

What is expected is the answer of the rule itself (true, false, unknown), the severity that the rules now give to its
syndrome (quiet, info, watch, warning, critical), or both; another rule or syndrome is named in front: ``R-06 false``.
Lines of ``given`` are those of :mod:`detector.courses`. ``scores: {"1:00": {withdrawal: 0.9}}`` are what the models
answer from then on; rows are scored at the end of each hour in which something came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from msgspec import Struct

from detector.catalogue.strict import Problems, typed
from detector.courses import Bed, instant, read_course
from detector.errors import nearest
from detector.plan import Plan
from detector.records import SEVERITIES, Syndrome
from detector.rules.truth import WORDS

SEVERITY_WORDS = ("quiet", *SEVERITIES)


class ExampleWritten(Struct, frozen=True):
    name: str
    given: tuple[str, ...]
    expect: dict[str, str | bool]
    patient: dict[str, Any] = {}
    scores: dict[str, dict[str, float | None]] = {}


def examples_of(files: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """The examples of every rule file, by the rule's id; files that hold no rule are left out."""
    return {
        data["id"]: data.get("examples") or ()
        for _, data in sorted(files.items())
        if isinstance(data, dict) and "id" in data and "kind" in data
    }


def run_examples(plan: Plan, rule: str, examples: Sequence[Any]) -> list[str]:
    """Run the examples of one rule; every mistake and every difference is one line, with its path."""
    problems = Problems(f"{rule}.yaml")
    if not examples:
        problems.add(
            "$.examples", "is empty; expected what fires the rule, what does not, what is unknown and what clears it"
        )
    for number, data in enumerate(examples):
        path = f"$.examples[{number}]"
        written = typed(ExampleWritten, data, path, problems)
        if written is None:
            continue
        before = len(problems.lines)
        lines = [(f"{path}.given[{i}]", line) for i, line in enumerate(written.given)]
        events = read_course(plan.catalogue, written.patient, lines, f"{path}.patient", problems)
        scores = _scores(written.scores, f"{path}.scores", problems)
        asked = read_expected(plan, written.expect, f"{path}.expect", problems, rule)
        if len(problems.lines) > before:
            continue
        bed = Bed(plan, events, scores)
        for at, text, wanted in asked:
            bed.until(at)
            for line in differences(bed, wanted):
                problems.add(f"{path}.expect", f"{written.name!r} at {text}: {line}")
    return problems.lines


def _scores(
    written: Mapping[str, Mapping[str, float | None]], path: str, problems: Problems
) -> list[tuple[int, Mapping[str, float | None]]]:
    told = []
    for text, scores in written.items():
        try:
            told.append((instant(text), scores))
        except ValueError as error:
            problems.add(f"{path}[{text!r}]", str(error))
    return sorted(told, key=lambda pair: pair[0])


Expected = tuple[str, str]
"""(rule or syndrome, word)."""


def read_expected(
    plan: Plan, data: Mapping[str, str | bool], path: str, problems: Problems, rule: str | None
) -> list[tuple[int, str, list[Expected]]]:
    """(instant, its text, what is expected then), in order of time. ``rule`` is whom a word without a name is about."""
    asked = []
    for text, words in data.items():
        try:
            at = instant(text)
            wanted = [_expected(plan, word.split(), rule) for word in str(words).split(",")]
        except ValueError as error:
            problems.add(f"{path}[{text!r}]", str(error))
            continue
        asked.append((at, text, wanted))
    if not data:
        problems.add(path, "is empty; expected at least one time")
    return sorted(asked)


def _expected(plan: Plan, words: Sequence[str], rule: str | None) -> Expected:
    if not words or len(words) > 2:
        raise ValueError(f"{' '.join(words)!r}: expected a word such as true or warning, or a name and a word")
    word = words[-1].lower()  # YAML's true is written True by Python
    known = (*WORDS, *SEVERITY_WORDS)
    if word not in known:
        raise ValueError(f"{word!r}: expected one of {', '.join(known)}{nearest(word, known)}")
    if len(words) == 2:
        names = (
            get_args(Syndrome)
            if word in SEVERITY_WORDS
            else [asked.id for asked in (*plan.book.asked, *plan.book.late)]
        )
        if words[0] not in names:
            raise ValueError(f"{words[0]!r}: no such rule or syndrome{nearest(words[0], names)}")
        return words[0], word
    if rule is not None and rule in plan.book.rules:
        return (plan.book.rules[rule].syndrome if word in SEVERITY_WORDS else rule), word
    raise ValueError(f"{word!r}: expected the rule or syndrome in front")


def differences(bed: Bed, wanted: Sequence[Expected]) -> list[str]:
    """What is not as expected, one line each."""
    lines = []
    for name, word in wanted:
        found = bed.severity(name) if word in SEVERITY_WORDS else bed.truth(name)
        if found != word:
            lines.append(f"{name} is {found}; expected {word}")
    return lines
