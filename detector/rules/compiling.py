"""From the words of a rule file to questions that can be asked.

A condition is a mapping with one key, its kind; this file is the whole vocabulary (docs/rules.md shows it with
examples). Every mistake is reported with its path; nothing is evaluated from strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from detector.catalogue.signals import Catalogue
from detector.catalogue.strict import Problems, typed
from detector.clock import NEVER, parse_duration
from detector.errors import nearest
from detector.events import CONTEXT_KINDS, PUMP_KINDS, AlarmReason, ContextChange
from detector.rules.happenings import (
    STATUSES,
    Age,
    ContextEvent,
    HasCondition,
    PassedSince,
    PumpEvent,
    PumpStatus,
    newest_pump_event,
)  # fmt: skip
from detector.rules.injury import Kidney, UrineBelow
from detector.rules.logic import All, AtLeast, Not, NotKnown, Points
from detector.rules.logic import Any as AnyOf
from detector.rules.memory import RuleBegan, RuleHeld, RuleIs, RuleWas
from detector.rules.readings import BaseUnknown, Every, NoReading, Op, Reads, Threshold
from detector.rules.scored import SCORE, Scored
from detector.rules.standing import COMBINED, Questions
from detector.rules.trends import Fall, Grows, Range, Responded, Rise, Swing
from detector.rules.truth import Term
from detector.rules.view import View
from detector.rules.words import (
    AgeArgs,
    BeganArgs,
    ConditionArgs,
    ContextArgs,
    FallArgs,
    GrowsArgs,
    HeldArgs,
    KidneyArgs,
    NoReadingArgs,
    PassedArgs,
    PointItem,
    PointsArgs,
    PumpArgs,
    RangeArgs,
    Reading,
    RespondedArgs,
    RiseArgs,
    ScoreArgs,
    SwingArgs,
    UrineArgs,
    Value,
    WasArgs,
)


class Compiler:
    """Turns conditions into terms. ``rules`` are the ids that ``rule``, ``was``, ``held`` and ``began`` may name;
    ``questions`` takes those whose answers are kept (None = none is).
    """

    def __init__(
        self, catalogue: Catalogue, tables: Mapping[str, Any], rules: frozenset[str], problems: Problems,
        questions: Questions | None = None,
    ) -> None:  # fmt: skip
        self.catalogue, self.tables, self.rules, self.problems = catalogue, tables, rules, problems
        self._questions = questions
        self._kinds: dict[str, Callable[[Any, str], Term | None]] = {
            "all": lambda data, path: self._combined(All, data, path),
            "any": lambda data, path: self._combined(AnyOf, data, path),
            "not": lambda data, path: self._one(Not, data, path),
            "not_known": lambda data, path: self._one(NotKnown, data, path),
            "at_least": self._at_least,
            "points": self._points,
            "reading": self._reading,
            "rise": self._rise,
            "fall": self._fall,
            "range": self._range,
            "swing": self._swing,
            "grows": self._grows,
            "responded": self._responded,
            "no_reading": self._no_reading,
            "base_unknown": lambda data, path: BaseUnknown(data) if self._signal(data, path) else None,
            "pump": self._pump,
            "pump_status": self._pump_status,
            "context": self._context,
            "condition": self._condition,
            "age": self._age,
            "passed_since": self._passed,
            "rule": lambda data, path: RuleIs(data) if self._rule(data, path) else None,
            "was": self._was,
            "held": self._held,
            "began": self._began,
            "kidney_injury": self._kidney,
            "score": self._score,
            "urine_below": self._urine,
        }

    def compile(self, data: object, path: str) -> Term | None:
        """The term of a condition; None = it is wrong, and why is among the problems."""
        if not isinstance(data, dict) or len(data) != 1:
            self.problems.add(path, f"{_short(data)}: expected a mapping with one key, the kind of condition")
            return None
        ((kind, body),) = data.items()
        build = self._kinds.get(kind)
        if build is None:
            self.problems.add(f"{path}.{kind}", f"no such condition; expected one of {', '.join(self._kinds)}"
                              f"{nearest(str(kind), self._kinds)}")  # fmt: skip
            return None
        term = build(body, f"{path}.{kind}")
        if term is None or self._questions is None or kind in COMBINED or SCORE in term.needs:
            return term
        return self._questions.one(kind, body, term)

    # --- combinations --------------------------------------------------------------------------------------------

    def _list(self, data: object, path: str) -> list[Term] | None:
        if not isinstance(data, list) or not data:
            self.problems.add(path, f"{_short(data)}: expected a list of conditions")
            return None
        terms = [self.compile(item, f"{path}[{i}]") for i, item in enumerate(data)]
        return None if None in terms else terms  # type: ignore[return-value]

    def _combined(self, cls: Callable[[list[Term]], Term], data: object, path: str) -> Term | None:
        terms = self._list(data, path)
        return None if terms is None else cls(terms)

    def _one(self, cls: Callable[[Term], Term], data: object, path: str) -> Term | None:
        term = self.compile(data, path)
        return None if term is None else cls(term)

    def _at_least(self, data: object, path: str) -> Term | None:
        if not isinstance(data, dict) or set(data) != {"n", "of"} or not isinstance(data["n"], int):
            self.problems.add(path, f"{_short(data)}: expected n and of")
            return None
        terms = self._list(data["of"], f"{path}.of")
        return None if terms is None else AtLeast(data["n"], terms)

    def _points(self, data: object, path: str) -> Points | None:
        args = typed(PointsArgs, data, path, self.problems)
        if args is None:
            return None
        items: list[tuple[int, str | None, Term]] = []
        for i, written in enumerate(args.items):
            item = typed(PointItem, written, f"{path}.items[{i}]", self.problems)
            term = None if item is None else self.compile(item.when, f"{path}.items[{i}].when")
            if item is not None and term is not None:
                items.append((item.points, item.group, term))
        return Points(args.name, args.at_least, items) if len(items) == len(args.items) else None

    # --- readings ------------------------------------------------------------------------------------------------

    def _reading(self, data: object, path: str) -> Term | None:
        args = typed(Reading, data, path, self.problems)
        if args is None or not self._signal(args.signal, f"{path}.signal"):
            return None
        written = [(op, getattr(args, op)) for op in ("at_least", "above", "at_most", "below")]
        given = [(op, value) for op, value in written if value is not None]
        if len(given) != 1:
            self.problems.add(path, "expected exactly one of at_least, above, at_most, below")
            return None
        op: Op = given[0][0]  # type: ignore[assignment]
        threshold, extra = self._threshold(args.signal, given[0][1], f"{path}.{op}")
        within = self._duration(args.within, f"{path}.within")
        for site in (*args.sites, *args.sites_not):
            if site not in self.catalogue.sites:
                self.problems.add(path, f"{site!r} is not a site{nearest(site, self.catalogue.sites)}")
        if args.which == "every":
            return Every(args.signal, op, threshold, within, args.n, computed=args.computed)
        confirm = None
        if args.confirmed_by is not None:
            confirm = (args.confirmed_by.at_least, self._duration(args.confirmed_by.within, f"{path}.confirmed_by"))
        apart = None if args.twice_apart is None else self._duration(args.twice_apart, f"{path}.twice_apart")
        since = None
        if args.since is not None:
            since = self._event_at(args.since.pump, self._duration(args.since.plus, f"{path}.since.plus"), path)
            extra |= {"pump"}
        return Reads(
            args.signal, op, threshold, within, apart=apart, confirm=confirm, sites=frozenset(args.sites),
            sites_not=frozenset(args.sites_not), flags_not=frozenset(args.flags_not), since=since,
            latest=args.which == "latest", extra=extra,
        )  # fmt: skip

    def _threshold(self, signal: str, value: Value, path: str) -> tuple[Threshold, frozenset[str]]:
        if not isinstance(value, dict):
            return (lambda _view: (value, NEVER)), frozenset()
        stay = frozenset({"stay"})
        wrong = any(not isinstance(number, int | float) for word, number in value.items() if word != "by_age")
        if not wrong and set(value) <= {"uln_times", "floor"} and "uln_times" in value:
            times, floor = value["uln_times"], value.get("floor")

            def by_limit(view: View) -> tuple[float | None, int]:
                series = view.series(signal)
                if series is None or not len(series):
                    return floor, NEVER
                limit = view.upper_limit(signal, series.meta[-1])
                if limit is None:
                    return floor, NEVER
                return max(times * limit, floor or 0.0), NEVER

            return by_limit, stay
        if not wrong and set(value) == {"uln_plus"}:
            plus = value["uln_plus"]

            def over_limit(view: View) -> tuple[float | None, int]:
                series = view.series(signal)
                limit = view.upper_limit(signal, series.meta[-1]) if series is not None and len(series) else None
                return (None if limit is None else limit + plus), NEVER

            return over_limit, stay
        if not wrong and set(value) == {"base_plus"}:
            above = value["base_plus"]

            def over_base(view: View) -> tuple[float | None, int]:
                base, until = view.base(signal)
                return (None if base is None else base + above), until

            return over_base, stay
        if set(value) == {"by_age"} and value["by_age"] in self.tables:
            table = self.tables[value["by_age"]]

            def by_age(view: View) -> tuple[float | None, int]:
                age = view.age_years
                for row in table:
                    if row.below_years is None or (age is not None and age < row.below_years):
                        return row.value, NEVER
                return None, NEVER

            return by_age, stay
        self.problems.add(path, f"{_short(value)}: expected a number, uln_times (and floor), uln_plus, base_plus or "
                          f"by_age with one of {', '.join(self.tables)}")  # fmt: skip
        return (lambda _view: (None, NEVER)), stay

    def _rise(self, data: object, path: str) -> Term | None:
        args = typed(RiseArgs, data, path, self.problems)
        if args is None or not self._signal(args.signal, path):
            return None
        within, apart = self._duration(args.within, path), self._duration(args.apart, path)
        return Rise(args.signal, args.by, args.to, within, apart, frozenset(args.sites_not))

    def _fall(self, data: object, path: str) -> Term | None:
        args = typed(FallArgs, data, path, self.problems)
        if args is None or not self._signal(args.signal, path):
            return None
        return Fall(args.signal, args.fraction, self._duration(args.within, path), frozenset(args.flags_not))

    def _range(self, data: object, path: str) -> Term | None:
        args = typed(RangeArgs, data, path, self.problems)
        if args is None or not self._signal(args.signal, path):
            return None
        return Range(args.signal, args.at_least, self._duration(args.within, path))

    def _swing(self, data: object, path: str) -> Term | None:
        args = typed(SwingArgs, data, path, self.problems)
        if args is None or not self._signal(args.signal, path):
            return None
        apart, within = self._duration(args.apart, path), self._duration(args.within, path)
        return Swing(args.signal, args.from_at_least, args.to_at_most, apart, within)

    def _grows(self, data: object, path: str) -> Term | None:
        args = typed(GrowsArgs, data, path, self.problems)
        if args is None or not self._signal(args.signal, path):
            return None
        apart = (self._duration(args.apart[0], path), self._duration(args.apart[1], path))
        doubling = None if args.doubling_within is None else self._duration(args.doubling_within, path)
        return Grows(args.signal, apart, self._duration(args.recent, path), ratio=args.ratio, doubling=doubling,
                     at_least=args.at_least, above_uln=args.above_uln)  # fmt: skip

    def _responded(self, data: object, path: str) -> Term | None:
        args = typed(RespondedArgs, data, path, self.problems)
        if args is None or not self._signal(args.signal, path):
            return None
        before, event = self._duration(args.before, path), self._event_at(args.pump, 0, path)
        return Responded(args.signal, args.by, args.only_from, before, event)

    def _no_reading(self, data: object, path: str) -> Term | None:
        args = typed(NoReadingArgs, data, path, self.problems)
        if args is None or not self._signal(args.signal, path):
            return None
        return NoReading(args.signal, self._duration(args.within, path))

    def _score(self, data: object, path: str) -> Term | None:
        args = typed(ScoreArgs, data, path, self.problems)
        return None if args is None else Scored(args.name, args.at_least)

    def _kidney(self, data: object, path: str) -> Term | None:
        args = typed(KidneyArgs, data, path, self.problems)
        return None if args is None else Kidney(args.stage)

    def _urine(self, data: object, path: str) -> Term | None:
        args = typed(UrineArgs, data, path, self.problems)
        if args is None:
            return None
        within = self._duration(args.within, path)
        return UrineBelow(args.ml_per_kg_h, args.fallback_ml_h, within)

    # --- happenings ----------------------------------------------------------------------------------------------

    def _pump(self, data: object, path: str) -> Term | None:
        args = typed(PumpArgs, data, path, self.problems)
        if args is None:
            return None
        self._words((*args.event, *args.undone_by), PUMP_KINDS, "a pump event", path)
        self._words(args.reason, get_args(AlarmReason), "a reason of an alarm", path)
        if args.after_rule is not None:
            self._rule(args.after_rule, f"{path}.after_rule")
        return PumpEvent(
            frozenset(args.event), None if args.within is None else self._duration(args.within, path),
            level=args.level, reasons=frozenset(args.reason), results=frozenset(args.result),
            undone_by=frozenset(args.undone_by), undone_results=frozenset(args.undone_result), due=args.due,
            excess=args.aspirate_excess, expected=args.aspirate_expected, after_rule=args.after_rule,
        )  # fmt: skip

    def _pump_status(self, data: object, path: str) -> Term | None:
        if not isinstance(data, list) or not data:
            self.problems.add(path, f"{_short(data)}: expected a list of {', '.join(STATUSES)}")
            return None
        self._words(tuple(map(str, data)), STATUSES, "a pump status", path)
        return PumpStatus(frozenset(map(str, data)))

    def _context(self, data: object, path: str) -> Term | None:
        args = typed(ContextArgs, data, path, self.problems)
        if args is None:
            return None
        self._words(args.kind, CONTEXT_KINDS, "a kind of context", path)
        self._words(args.event, get_args(ContextChange), "a context event", path)
        within = None if args.within is None else self._duration(args.within, path)
        return ContextEvent(frozenset(args.kind), running=args.running, changes=frozenset(args.event), within=within,
                            dose_at_least=args.dose_at_least)  # fmt: skip

    def _condition(self, data: object, path: str) -> Term | None:
        args = typed(ConditionArgs, data, path, self.problems)
        if args is None:
            return None
        return HasCondition(frozenset(args.code), None if args.within is None else self._duration(args.within, path))

    def _age(self, data: object, path: str) -> Term | None:
        args = typed(AgeArgs, data, path, self.problems)
        return None if args is None else Age(args.at_least, args.below)

    def _passed(self, data: object, path: str) -> Term | None:
        args = typed(PassedArgs, data, path, self.problems)
        if args is None:
            return None
        least, most = self._duration(args.at_least, path), self._duration(args.less_than, path)
        return PassedSince(" or ".join(args.pump), self._event_at(args.pump, 0, path), least, most)

    # --- other rules ---------------------------------------------------------------------------------------------

    def _was(self, data: object, path: str) -> Term | None:
        args = typed(WasArgs, data, path, self.problems)
        if args is None or not all([self._rule(rule, path) for rule in args.rule]):  # noqa: C419 - every wrong name is reported
            return None
        return RuleWas(frozenset(args.rule), self._duration(args.within, path))

    def _held(self, data: object, path: str) -> Term | None:
        args = typed(HeldArgs, data, path, self.problems)
        if args is None or not self._rule(args.rule, path):
            return None
        return RuleHeld(args.rule, self._duration(args.less_than, path))

    def _began(self, data: object, path: str) -> Term | None:
        args = typed(BeganArgs, data, path, self.problems)
        if args is None or not self._rule(args.rule, path):
            return None
        return RuleBegan(args.rule, args.times, self._duration(args.within, path))

    # --- words ---------------------------------------------------------------------------------------------------

    def _event_at(self, events: tuple[str, ...], plus: int, path: str) -> Callable[[View], int | None]:
        self._words(events, PUMP_KINDS, "a pump event", path)
        newest = newest_pump_event(frozenset(events))

        def at(view: View) -> int | None:
            happened = newest(view)
            return None if happened is None else happened + plus

        return at

    def _words(self, words: tuple[str, ...], known: tuple[str, ...], what: str, path: str) -> None:
        for word in words:
            if word not in known:
                self.problems.add(path, f"{word!r} is not {what}{nearest(word, known)}")

    def _signal(self, name: object, path: str) -> bool:
        if name in self.catalogue.signals:
            return True
        self.problems.add(
            path, f"{name!r} is not a signal{nearest(str(name), self.catalogue.signals)} (see signals.yaml)"
        )
        return False

    def _rule(self, name: object, path: str) -> bool:
        if name in self.rules:
            return True
        self.problems.add(path, f"{name!r} is not a rule{nearest(str(name), self.rules)}")
        return False

    def _duration(self, text: str, path: str) -> int:
        try:
            return parse_duration(text)
        except ValueError as error:
            self.problems.add(path, str(error))
            return 1


def _short(data: object) -> str:
    shown = repr(data)
    return shown if len(shown) <= 60 else type(data).__name__
