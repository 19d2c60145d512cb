"""Questions about other rules: now, some time ago, for how long, how often."""

from __future__ import annotations

from detector.clock import NEVER
from detector.rules.truth import FALSE, TRUE, Found
from detector.rules.view import View


class RuleIs:
    """Another rule is true now; its evidence is this one's."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.needs = frozenset({f"rule:{rule}"})

    def ask(self, view: View) -> Found:
        found = view.found[self.rule]
        return found if found.until == NEVER else Found(found.truth, NEVER, found.cites, found.blanks)


class RuleWas:
    """One of these rules is true now or was at some time in the window. Only what was known then counts: the past is
    not run again.
    """

    def __init__(self, rules: frozenset[str], within: int) -> None:
        self.rules, self.within = tuple(sorted(rules)), within
        self.remembers = rules
        self.needs = frozenset(f"rule:{rule}" for rule in rules)

    def ask(self, view: View) -> Found:
        until = 0
        for rule in self.rules:
            if view.found[rule].truth == TRUE:
                return Found(TRUE, NEVER, view.found[rule].cites)
            memo = view.memo(rule)
            if memo is not None:
                ended = view.now if memo.ended is None else memo.ended
                until = max(until, ended + self.within)
        return Found(TRUE, until) if until > view.now else Found(FALSE)


class RuleHeld:
    """A rule is true now and has been for less than ``less_than`` ms."""

    def __init__(self, rule: str, less_than: int) -> None:
        self.rule, self.less_than = rule, less_than
        self.remembers = frozenset({rule})
        self.needs = frozenset({f"rule:{rule}"})

    def ask(self, view: View) -> Found:
        found = view.found[self.rule]
        if found.truth != TRUE:
            return found._replace(until=NEVER)
        memo = view.memo(self.rule)
        since = view.now if memo is None or memo.ended is not None else memo.since
        if view.now - since >= self.less_than:
            return Found(FALSE)
        return Found(TRUE, since + self.less_than)


class RuleBegan:
    """A rule became true at least n times in the window."""

    def __init__(self, rule: str, n: int, within: int) -> None:
        self.rule, self.n, self.within = rule, n, within
        self.remembers = frozenset({rule})
        self.needs = frozenset({f"rule:{rule}"})

    def ask(self, view: View) -> Found:
        memo = view.memo(self.rule)
        starts = [at for at in (memo.starts if memo is not None else ()) if at > view.now - self.within]
        if view.found[self.rule].truth == TRUE and (memo is None or memo.ended is not None):
            starts.append(view.now)
        if len(starts) < self.n:
            return Found(FALSE)
        return Found(TRUE, starts[-self.n] + self.within)
