"""Building the rule book from the rule files: every mistake of every file is told at once, with its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from detector.catalogue.signals import Catalogue
from detector.catalogue.strict import Problems, typed
from detector.clock import parse_duration
from detector.errors import ConfigError, nearest
from detector.events import CONTEXT_KINDS
from detector.records import SEVERITIES, Severity, Syndrome
from detector.rules.book import Asked, Cap, Rule, RuleBook, Shown, index_of
from detector.rules.compiling import Compiler
from detector.rules.logic import Points
from detector.rules.scored import SCORE
from detector.rules.standing import Questions
from detector.rules.truth import TRUE, UNKNOWN, Found, Term
from detector.rules.view import Masks, View
from detector.rules.words import TableRow
from detector.rules.written import (
    CapWritten,
    DefinitionWritten,
    LowersWritten,
    MaskWritten,
    MissingWritten,
    PromptWritten,
    RaisesWritten,
    RuleWritten,
    TableWritten,
    TextWritten,
    To,
    WhenWritten,
)


class UnknownWhen:
    """A rule whose answer cannot be trusted while a condition holds is UNKNOWN then."""

    def __init__(self, term: Term, condition: Term) -> None:
        self.term, self.condition = term, condition
        self.needs = term.needs | condition.needs

    def ask(self, view: View) -> Found:
        masked = self.condition.ask(view)
        if masked.truth == TRUE:
            return Found(UNKNOWN, masked.until, (), self.term.needs)
        found = self.term.ask(view)
        return found._replace(until=min(found.until, masked.until))


def build_book(files: Mapping[str, Any], catalogue: Catalogue, *, pump_register_complete: bool) -> RuleBook:
    """Build the book from parsed rule files (file name -> content).

    Files: one rule each (``R-06.yaml``), ``definitions.yaml``, ``guards.yaml``, ``bedside.yaml``.

    Raises:
        ConfigError: with every mistake of every file.
    """
    return _Builder(files, catalogue, pump_register_complete=pump_register_complete).build()


class _Builder:
    def __init__(self, files: Mapping[str, Any], catalogue: Catalogue, *, pump_register_complete: bool) -> None:
        self.files = files
        self.catalogue = catalogue
        self.lines: list[str] = []
        self.asked: dict[str, Asked] = {}
        self.order: list[str] = []
        self.questions = Questions()
        self.tables = self._tables(self._part("definitions.yaml", "tables"))
        self.tables_for_rules = {**self.tables, "pump_register_complete": pump_register_complete}
        self.written: dict[str, tuple[str, RuleWritten]] = {}
        self.named: set[str] = set(self._part("definitions.yaml", "definitions"))

    def _mapping(self, name: str) -> dict[str, Any]:
        data = self.files.get(name)
        if isinstance(data, dict):
            return data
        line = f"{name} $: expected a mapping; the file is missing or empty"
        if line not in self.lines:
            self.lines.append(line)
        return {}

    def _part(self, name: str, part: str) -> dict[str, Any]:
        """A mapping inside a file; one that is left out is empty."""
        data = self._mapping(name).get(part)
        line = f"{name} $.{part}: expected a mapping"
        if data is not None and not isinstance(data, dict) and line not in self.lines:
            self.lines.append(line)
        return data if isinstance(data, dict) else {}

    def _tables(self, written: Mapping[str, Any]) -> dict[str, tuple[TableRow, ...]]:
        problems = Problems("definitions.yaml")
        tables = {name: typed(TableWritten, data, f"$.tables.{name}", problems) for name, data in written.items()}
        self.lines += problems.lines
        return {name: table.values for name, table in tables.items() if table is not None}

    def build(self) -> RuleBook:
        for file, data in sorted(self.files.items()):
            if file in ("definitions.yaml", "guards.yaml", "bedside.yaml"):
                continue
            problems = Problems(file)
            rule = typed(RuleWritten, data, "$", problems)
            if rule is not None:
                if rule.id != file.removesuffix(".yaml"):
                    problems.add("$.id", f"{rule.id!r} does not match the file's name")
                self.written[rule.id] = (file, rule)
                self.named.add(rule.id)
            self.lines += problems.lines
        self._definitions()
        rules = {identity: self._rule(file, rule) for identity, (file, rule) in self.written.items()}
        caps, masks = self._guards()
        bedside = self._bedside()
        ordered, late = self._apart(self._ordered())
        remembered = frozenset().union(*(_remembered(asked.term) for asked in ordered)) if ordered else frozenset()
        if "CTX-01" not in rules:
            self.lines.append("CTX-01.yaml $: expected the rule of the pump gate")
        if self.lines:
            raise ConfigError(self.lines)
        version = str(self._mapping("definitions.yaml").get("version", ""))
        self.tables_for_rules["run_gaps"] = {asked.id: asked.run_gap for asked in ordered if asked.run_gap}
        return RuleBook(
            version=version, asked=tuple(ordered), late=tuple(late), index=index_of(ordered, self.questions.readers()), rules=rules, caps=caps, masks=masks, tables=self.tables_for_rules,
            remembered=remembered, run_gaps={a.id: a.run_gap for a in ordered if a.run_gap}, gate="CTX-01", **bedside,
        )  # fmt: skip

    def _definitions(self) -> None:
        problems = Problems("definitions.yaml")
        for name, data in self._part("definitions.yaml", "definitions").items():
            written = typed(DefinitionWritten, data, f"$.definitions.{name}", problems)
            if written is None:
                continue
            gap = 0
            if written.run_gap is not None:
                try:
                    gap = parse_duration(written.run_gap)
                except ValueError as error:
                    problems.add(f"$.definitions.{name}.run_gap", str(error))
            self._ask(name, written.when, f"$.definitions.{name}.when", problems, run_gap=gap)
        self.lines += problems.lines

    def _ask(
        self, identity: str, when: object, path: str, problems: Problems, *, rule: bool = False, display: bool = False,
        run_gap: int = 0, unknown_when: object = None,
    ) -> str:  # fmt: skip
        compiler = Compiler(self.catalogue, self.tables, frozenset(self.named), problems, self.questions)
        term = compiler.compile(when, path)
        if unknown_when is not None:
            masked = compiler.compile(unknown_when, path.replace("when", "unknown_when"))
            term = UnknownWhen(term, masked) if term is not None and masked is not None else None
        if term is not None:
            self.asked[identity] = Asked(identity, term, term.needs, rule, display, run_gap)
        return identity

    def _rule(self, file: str, written: RuleWritten) -> Rule:
        problems = Problems(file)
        identity = written.id
        self._ask(identity, written.when, "$.when", problems, rule=True, unknown_when=written.unknown_when)
        escalate = self._side(identity, "escalate", written.escalate, problems)
        soften = self._side(identity, "soften", written.soften, problems)
        raises = typed(RaisesWritten, written.raises, "$.raises", problems) if written.raises is not None else None
        spares = raises.spares if raises else None
        lowers = typed(LowersWritten, written.lowers, "$.lowers", problems) if written.lowers is not None else None
        suppresses = quiets = None
        if written.suppresses is not None:
            suppresses = typed(WhenWritten, written.suppresses, "$.suppresses", problems)
        if written.quiets is not None:
            quiets = typed(WhenWritten, written.quiets, "$.quiets", problems)
        named = (
            *(spares.rules if spares else ()),
            *(lowers.rules if lowers else ()),
            *(quiets.rules if quiets else ()),
        )
        for other in named:
            if other not in self.named:
                problems.add("$", f"{other!r} is not a rule{nearest(other, self.named)}")

        if written.syndrome not in get_args(Syndrome):
            problems.add(
                "$.syndrome", f"{written.syndrome!r} is not a syndrome{nearest(written.syndrome, get_args(Syndrome))}"
            )

        def side(name: str, when: dict[str, Any] | None) -> str | None:
            return None if when is None else self._ask(f"{identity}.{name}", when, f"$.{name}", problems)

        rule = Rule(
            id=identity, kind=written.kind, title=written.title,
            severity=self._severity(written.severity, "$.severity", problems), syndrome=written.syndrome,
            headline=written.headline or written.title, text=written.text, escalate=escalate, soften=soften,
            raise_steps=raises.steps if raises else 0,
            raise_spares=spares.rules if spares else (),
            raise_spares_when=side("raises.spares", spares.when if spares else None),
            raise_critical_when=side("raises.critical_only_when", raises.critical_only_when if raises else None),
            lower_steps=lowers.steps if lowers else 0,
            lower_floor=self._severity(lowers.floor if lowers else None, "$.lowers.floor", problems),
            lower_rules=lowers.rules if lowers else (),
            lower_differential=lowers.differential_first if lowers else None,
            suppress_when=side("suppresses", suppresses.when if suppresses else None),
            suppress_syndrome=suppresses.syndrome if suppresses else None,
            quiet_when=side("quiets", quiets.when if quiets else None), quiet_rules=quiets.rules if quiets else (),
            exempt=written.exempt, any_gate=written.any_gate,
        )  # fmt: skip
        self.lines += problems.lines
        return rule

    def _side(
        self, identity: str, name: str, entries: tuple[dict[str, Any], ...], problems: Problems
    ) -> tuple[tuple[Severity, str], ...]:
        sides = []
        for i, entry in enumerate(entries):
            to = typed(To, entry, f"$.{name}[{i}]", problems)
            if to is not None:
                asked = self._ask(f"{identity}.{name}[{i}]", to.when, f"$.{name}[{i}].when", problems)
                sides.append((self._severity(to.to, f"$.{name}[{i}].to", problems), asked))
        return tuple(sides)

    def _severity(self, word: str | None, path: str, problems: Problems) -> Severity:
        if word is None:
            return Severity.NONE
        if word not in SEVERITIES:
            problems.add(path, f"{word!r}: expected one of {', '.join(SEVERITIES)}{nearest(word, SEVERITIES)}")
            return Severity.NONE
        return SEVERITIES[word]

    def _guards(self) -> tuple[tuple[Cap, ...], Masks]:
        problems = Problems("guards.yaml")
        caps = []
        for name, data in self._part("guards.yaml", "caps").items():
            cap = typed(CapWritten, data, f"$.caps.{name}", problems)
            if cap is not None:
                for rule in cap.rules:
                    if rule not in self.written:
                        problems.add(f"$.caps.{name}.rules", f"{rule!r} is not a rule{nearest(rule, self.written)}")
                unless = self._ask(f"{name}.unless", cap.unless, f"$.caps.{name}.unless", problems)
                caps.append(Cap(name, cap.rules, self._severity(cap.to, f"$.caps.{name}.to", problems), unless))
        masks = Masks()
        for name, data in self._part("guards.yaml", "masks").items():
            mask = typed(MaskWritten, data, f"$.masks.{name}", problems)
            if mask is None:
                continue
            running = frozenset(mask.running)
            for kind in (*mask.running, *mask.notes_of):
                if kind not in CONTEXT_KINDS:
                    problems.add(f"$.masks.{name}", f"{kind!r} is not a kind of context{nearest(kind, CONTEXT_KINDS)}")
            for signal in mask.signals:
                if signal not in self.catalogue.signals:
                    problems.add(
                        f"$.masks.{name}", f"{signal!r} is not a signal{nearest(signal, self.catalogue.signals)}"
                    )
                table = masks.unknown if mask.effect == "unknown" else masks.low
                table[signal] = table.get(signal, frozenset()) | running
            for kind in mask.notes_of:
                masks.context[kind] = masks.context.get(kind, frozenset()) | running
        self.lines += problems.lines
        return tuple(caps), masks

    def _bedside(self) -> dict[str, Any]:
        problems = Problems("bedside.yaml")
        data = self._mapping("bedside.yaml")
        shown: dict[str, Any] = {}
        for group in ("against", "differentials", "checks"):
            items = []
            for i, entry in enumerate(data.get(group) or ()):
                text = typed(TextWritten, entry, f"$.{group}[{i}]", problems)
                if text is not None:
                    asked = self._ask(f"{group}[{i}]", text.when, f"$.{group}[{i}].when", problems, display=True)
                    items.append(Shown(asked, text.text, text.name, text.rank))
            shown[group] = tuple(items)
        missing = []
        for i, entry in enumerate(data.get("missing") or ()):
            item = typed(MissingWritten, entry, f"$.missing[{i}]", problems)
            if item is not None:
                when = {"no_reading": {"signal": item.signal, "within": item.within}}
                asked = self._ask(f"missing[{i}]", when, f"$.missing[{i}]", problems, display=True)
                missing.append(Shown(asked, item.text, item.signal, i))
        shown["missing"] = tuple(missing)
        panel = []
        for signal in data.get("panel") or ():
            known = self.catalogue.signals.get(signal)
            if known is None:
                problems.add("$.panel", f"{signal!r} is not a signal{nearest(str(signal), self.catalogue.signals)}")
                continue
            newest = {"signal": signal, "at_least": known.plausible.low, "within": "P7D", "which": "latest"}
            asked = self._ask(f"panel.{signal}", {"reading": newest}, "$.panel", problems, display=True)
            panel.append(Shown(asked, signal, signal, 0))
        shown["panel"] = tuple(panel)
        scores = []
        for i, entry in enumerate(data.get("scores") or ()):
            compiler = Compiler(self.catalogue, self.tables, frozenset(self.named), problems, self.questions)
            term = compiler.compile({"points": entry}, f"$.scores[{i}]")
            if isinstance(term, Points):
                scores.append((term.name, term))
        shown["scores"] = tuple(scores)
        query = typed(PromptWritten, data.get("pump_status_query"), "$.pump_status_query", problems)
        if query is not None:
            shown["status_query"] = self._ask("pump_status_query", query.when, "$.pump_status_query.when", problems)
            shown["status_query_headline"] = query.headline
        self.lines += problems.lines
        return shown

    def _ordered(self) -> list[Asked]:
        """Every question after those it names; a circle is a mistake."""
        done: dict[str, Asked] = {}
        doing: list[str] = []

        def visit(identity: str) -> None:
            if identity in done or identity not in self.asked:
                return
            if identity in doing:
                self.lines.append(
                    f"{identity} $.when: names itself through {' -> '.join((*doing[doing.index(identity) :], identity))}"
                )
                return
            doing.append(identity)
            for need in sorted(self.asked[identity].needs):
                if need.startswith("rule:"):
                    visit(need.removeprefix("rule:"))
            doing.pop()
            done[identity] = self.asked[identity]

        for identity in self.asked:
            visit(identity)
        return list(done.values())

    def _apart(self, ordered: list[Asked]) -> tuple[list[Asked], list[Asked]]:
        """What can be asked in pass 1, and what reads a score, itself or through a rule it names."""
        first: list[Asked] = []
        late: dict[str, Asked] = {}
        for asked in ordered:
            if SCORE not in asked.needs and not any(f"rule:{identity}" in asked.needs for identity in late):
                first.append(asked)
                continue
            late[asked.id] = asked
            windows = sorted(need for need in asked.needs if need != SCORE and not need.startswith("rule:"))
            if windows or asked.display or asked.run_gap:
                self.lines.append(
                    f"{asked.id} $.when: reads a score and also {', '.join(windows) or 'is shown or remembered'}; expected"
                    " scores and rules only: put the rest into a definition and name it"
                )
        return first, list(late.values())


def _remembered(term: Any) -> frozenset[str]:
    """Rules whose past some question reads (``was``, ``held``, ``began``, ``after_rule``)."""
    found = set(getattr(term, "remembers", ()))
    inner = [getattr(term, "term", None), getattr(term, "condition", None), *getattr(term, "terms", ())]
    inner += [item[2] for item in getattr(term, "items", ())]
    return frozenset(found).union(*(_remembered(one) for one in inner if one is not None))
