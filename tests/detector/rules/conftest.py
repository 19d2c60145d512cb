"""`ask` puts one condition, written as in a rule file, to a patient whose course is written as in an example."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from detector.catalogue.strict import Problems
from detector.clock import NEVER
from detector.courses import PATIENT, Bed, clock_time, instant, read_course
from detector.plan import Plan
from detector.rules.compiling import Compiler
from detector.rules.truth import WORDS
from detector.rules.view import View


class Answer(NamedTuple):
    truth: str
    until: str
    cites: tuple[tuple[str, float | None], ...]
    changes: tuple[str | None, ...]


Ask = Callable[..., Answer]


@pytest.fixture
def ask(plan: Plan) -> Ask:
    """The answer to a condition at a time, after a course: ``ask({...}, ["0:00 temp 39"], at="1:00")``."""

    def asked(when: Mapping[str, Any], given: list[str], at: str = "0:00", **patient: Any) -> Answer:
        problems = Problems("test")
        compiler = Compiler(plan.catalogue, plan.book.tables, frozenset(a.id for a in plan.book.asked), problems)
        term = compiler.compile(when, "$")
        events = read_course(plan.catalogue, patient, [(line, line) for line in given], "$", problems)
        assert problems.lines == []
        assert term is not None
        bed = Bed(plan, events)
        now = instant(at)
        bed.until(now)
        view = View(plan.catalogue, plan.book.masks, plan.book.tables, bed.ward.patients[PATIENT], now)
        found = term.ask(view)
        return Answer(
            WORDS[found.truth], "never" if found.until == NEVER else clock_time(found.until),
            tuple((cite.signal, cite.value) for cite in found.cites), tuple(cite.change for cite in found.cites),
        )  # fmt: skip

    return asked
