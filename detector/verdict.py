"""What the rules say of a patient at an instant: one verdict per syndrome."""

from __future__ import annotations

from msgspec import Struct

from detector.records import Severity
from detector.rules.truth import UNKNOWN


class Verdict(Struct, frozen=True):
    """What the rules say of one syndrome now.

    ``severity`` opens and raises; ``hold`` keeps an open alert where it is (it also counts rules that are quiet after a
    restoration). ``true`` are the true rules with what each stands for, ``possible`` what each rule could stand for if
    what is UNKNOWN were true, ``blanks`` what each unknown rule lacks. ``because`` names the rules that decide and the
    overlays that moved them.
    """

    syndrome: str
    severity: Severity
    hold: Severity
    true: dict[str, Severity]
    possible: dict[str, Severity]
    because: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    blanks: dict[str, frozenset[str]] = {}


class Verdicts(Struct, frozen=True):
    """All syndromes of one patient at one instant, by episode key. ``withheld`` maps a reason to the severity kept
    back; ``gate`` is what the gate said (TRUE = open).
    """

    by_key: dict[str, Verdict]
    withheld: dict[str, Severity]
    gate: int


NOTHING = Verdicts({}, {}, UNKNOWN)
