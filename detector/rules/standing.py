"""Answers that stand: a question about readings or facts is asked again only when something it needs changed or its
time has come, whoever reads it. Equal questions of several rules are one.

Keeping an answer is a saving, never a decision (see ``asking``). A question about other rules is never kept: it reads
answers, which costs less than keeping one.
"""

from __future__ import annotations

import json
from typing import Any

from detector.rules.truth import Found, Term
from detector.rules.view import View


class Standing:
    """One such question. ``number`` is its place among all of a book."""

    __slots__ = ("bit", "needs", "number", "term")

    def __init__(self, number: int, term: Term) -> None:
        self.number, self.bit = number, 1 << number
        self.term = term
        self.needs = term.needs

    def ask(self, view: View) -> Found:
        patient = view.patient
        stands = patient.standing.get(self.number)
        if stands is not None and stands[1] > view.now and not patient.fallen & self.bit:
            return stands
        found = patient.standing[self.number] = self.term.ask(view)
        patient.fallen &= ~self.bit
        return found


class Questions:
    """The questions of one book that are kept, each once."""

    def __init__(self) -> None:
        self._known: dict[str, Standing] = {}

    def one(self, kind: str, body: object, term: Term) -> Term:
        """The question that is written as ``kind: body``; a new one gets the next number."""
        if any(need.startswith("rule:") for need in term.needs):
            return term
        return self._known.setdefault(json.dumps([kind, body], sort_keys=True), Standing(len(self._known), term))

    def readers(self) -> dict[str, int]:
        """What can change -> the numbers of those that read it, as a bit set."""
        readers: dict[str, int] = {}
        for one in self._known.values():
            for need in one.needs:
                readers[need] = readers.get(need, 0) | one.bit
        return readers


COMBINED: frozenset[Any] = frozenset({"all", "any", "not", "not_known", "at_least", "points"})
"""Conditions that are made of others: their parts are kept, not they."""
