"""Combining questions: all, any, not, at least n of, and points."""

from __future__ import annotations

from collections.abc import Sequence

from detector.clock import NEVER
from detector.rules.truth import FALSE, TRUE, UNKNOWN, Cite, Found, Term
from detector.rules.view import View


def _needs(terms: Sequence[Term]) -> frozenset[str]:
    return frozenset().union(*(term.needs for term in terms))


class All:
    """True when every part is; false as soon as one part is, whatever else is unknown."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(terms)
        self.needs = _needs(terms)

    def ask(self, view: View) -> Found:
        truth, until = TRUE, NEVER
        cites: tuple[Cite, ...] = ()
        blanks: frozenset[str] = frozenset()
        for term in self.terms:
            its_truth, stands, lines, lacks = term.ask(view)
            if its_truth == FALSE:
                return Found(FALSE, stands)
            truth = min(truth, its_truth)
            until = min(until, stands)
            cites += lines
            if lacks:
                blanks |= lacks
        return Found(truth, until, cites if truth == TRUE else (), blanks)


class Any:
    """True when one part is; every true part is cited."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(terms)
        self.needs = _needs(terms)

    def ask(self, view: View) -> Found:
        truth, until = FALSE, NEVER
        cites: tuple[Cite, ...] = ()
        blanks: frozenset[str] = frozenset()
        for term in self.terms:
            its_truth, stands, lines, lacks = term.ask(view)
            truth = max(truth, its_truth)
            until = min(until, stands)
            if its_truth == TRUE:
                cites += lines
            if lacks:
                blanks |= lacks
        return Found(truth, until, cites, blanks if truth == UNKNOWN else frozenset())


class Not:
    def __init__(self, term: Term) -> None:
        self.term = term
        self.needs = term.needs

    def ask(self, view: View) -> Found:
        found = self.term.ask(view)
        return Found(TRUE - found.truth, found.until, (), found.blanks)


class NotKnown:
    """True unless the part is known to be true: for what must be shown when in doubt."""

    def __init__(self, term: Term) -> None:
        self.term = term
        self.needs = term.needs

    def ask(self, view: View) -> Found:
        found = self.term.ask(view)
        return Found(FALSE if found.truth == TRUE else TRUE, found.until)


class AtLeast:
    """True when n parts are; unknown when the unknown ones could make it so."""

    def __init__(self, n: int, terms: Sequence[Term]) -> None:
        self.n = n
        self.terms = tuple(terms)
        self.needs = _needs(terms)

    def ask(self, view: View) -> Found:
        answers = [term.ask(view) for term in self.terms]
        sure = sum(found.truth == TRUE for found in answers)
        maybe = sum(found.truth == UNKNOWN for found in answers)
        until = min(found.until for found in answers)
        if sure >= self.n:
            return Found(TRUE, until, tuple(cite for found in answers for cite in found.cites))
        if sure + maybe < self.n:
            return Found(FALSE, until)
        return Found(UNKNOWN, until, (), frozenset().union(*(found.blanks for found in answers)))


class Points:
    """A clinical score as a floor: known points are added, unknown items add nothing and cannot fail it.

    Items of one group are one process of which only the highest counts (Larach's MH scale). ``total`` gives the floor
    for display.
    """

    def __init__(self, name: str, at_least: int, items: Sequence[tuple[int, str | None, Term]]) -> None:
        self.name = name
        self.at_least = at_least
        self.items = tuple(items)
        self.needs = _needs([term for _, _, term in items])

    def total(self, view: View) -> tuple[int, int, Found]:
        """(points that are known, points that unknown items could still add, the cites and until of both)."""
        sure: dict[str, int] = {}
        possible: dict[str, int] = {}
        until = NEVER
        cites: tuple[Cite, ...] = ()
        blanks: frozenset[str] = frozenset()
        for number, (points, group, term) in enumerate(self.items):
            key = group or str(number)
            truth, stands, lines, lacks = term.ask(view)
            until = min(until, stands)
            if truth == TRUE:
                sure[key] = max(sure.get(key, 0), points)
                cites += lines
            if truth != FALSE:
                possible[key] = max(possible.get(key, 0), points)
            if lacks:
                blanks |= lacks
        floor = sum(sure.values())
        return floor, sum(possible.values()) - floor, Found(TRUE, until, cites, blanks)

    def ask(self, view: View) -> Found:
        floor, more, found = self.total(view)
        if floor >= self.at_least:
            return found._replace(blanks=frozenset())
        if floor + more < self.at_least:
            return Found(FALSE, found.until)
        return Found(UNKNOWN, found.until, (), found.blanks)
