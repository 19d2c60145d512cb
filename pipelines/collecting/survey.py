"""What a replay of a data set would find: counted on the same way as it is read, and nothing kept.

For a person with a large data set and a long run before them (``itbwatch check --format NAME PATH``).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path

import polars as pl

from detector.catalogue.signals import Catalogue
from detector.clean import Refused, clean, name_of
from detector.events import Encounter, Observation, Pump
from pipelines.collecting.collector import Collector, Told, silent
from pipelines.collecting.item_maps import ItemMap, item_map
from pipelines.collecting.scans import Folder
from pipelines.dataset import InputRefused
from pipelines.datasets import open_dataset
from pipelines.settings import Settings
from pipelines.tables import TEXT, Columns

DICTIONARIES = (
    ("d_items", "itemid", "label"),
    ("d_labitems", "itemid", "label"),
    ("concept", "concept_id", "concept_name"),
    ("codes", "code", "description"),
)
"""Tables that say in words what an item is: name, item, label."""

TAKEN = "accepted"
SHOWN = 25  # items or spellings of one list


class Survey(Collector):
    """Counts what a data-set format hands over.

    ``results``: rows by (signal, outcome), the outcome as ``detector.clean`` gives it. ``units``: rows by (signal, unit
    as written) whose unit is not known. ``items``: rows by table and item.
    """

    def __init__(self, name: str, catalogue: Catalogue) -> None:
        super().__init__(name)
        self.results: Counter[tuple[str, str]] = Counter()
        self.units: Counter[tuple[str, str]] = Counter()
        self.items: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.labels: dict[str, str] = {}
        self._catalogue = catalogue

    def saw(self, table: str, items: Counter[str]) -> None:
        self.items[table] += items

    def keep(self, table: pl.DataFrame) -> None:
        """Judge every kind of row once: the same code, unit and value are judged alike."""
        kinds = table.group_by("code", "unit", "site", "value").len()
        for code, unit, site, value, rows in kinds.iter_rows():
            seen = Observation(
                patient_id="-", code=code, effective_at=0, available_at=0, value=value, unit=unit, site=site
            )
            named = name_of(self._catalogue, seen)
            if named is None:
                self.results[code, "unknown_code"] += rows
                continue
            made = clean(self._catalogue, named, seen, weight_kg=None)
            outcome = made.reason if isinstance(made, Refused) else TAKEN
            self.results[named.signal, outcome] += rows
            if outcome == "unknown_unit":
                self.units[named.signal, unit or ""] += rows

    def taken(self) -> int:
        """Number of results that would be readings."""
        return sum(rows for (_, outcome), rows in self.results.items() if outcome == TAKEN)

    def alike(self, items: ItemMap) -> list[tuple[str, str, str, int]]:
        """Items that are not read although their label names a signal and the map does not say why, most rows first.

        Each as (table, item, label, rows).
        """
        said = {(table, one.item) for table, left_out in items.left_out.items() for one in left_out}
        words = _words(self._catalogue)
        return [
            (table, item, label, rows)
            for table, item, label, rows in self.unread(items)
            if (table, item) not in said and words.search(label)
        ]

    def unread(self, items: ItemMap) -> list[tuple[str, str, str, int]]:
        """Items that are not read, most rows first, as (table, item, label, rows)."""
        read = {(table, one.item) for table, mapped in items.observations.items() for one in mapped}
        read |= {(table, treatment.item) for table, listed in items.context.items() for treatment in listed}
        found = [
            (table, item, self.labels.get(item, item), rows)
            for table, seen in self.items.items()
            for item, rows in seen.items()
            if (table, item) not in read
        ]
        return sorted(found, key=lambda one: -one[3])


def survey(
    format_name: str, inputs: Sequence[Path], settings: Settings, catalogue: Catalogue, told: Told = silent
) -> Survey:
    """Read a data set once, counting; ``told`` hears how far it is.

    Raises:
        InputRefused: it cannot be replayed.
        ConfigError: an input is not there.
        OSError: an input cannot be read.
    """
    counted = Survey(format_name, catalogue)
    counted.told = told
    module = import_module(f"pipelines.datasets.{format_name.replace('-', '_')}")
    if hasattr(module, "load"):
        module.load(inputs, counted)
        _read_labels(Folder(inputs, format_name, "icu", "hosp", "metadata"), counted)
    else:
        dataset = open_dataset(format_name, inputs, stays=None, pumps=None, context=None, settings=settings)
        counted.keep(dataset.observations)
        counted.rejected.update(dataset.rejected)
        counted.others.extend(dataset.others)
    if not counted.taken():
        raise InputRefused(f"{inputs[0]}: not one result can be read as --format {format_name}; expected some that can")
    return counted


def lines(counted: Survey, format_name: str) -> Iterator[str]:
    """The report, line by line."""
    others = [event for _, event in counted.others]
    admitted = [event for event in others if isinstance(event, Encounter) and event.event == "admitted"]
    yield f"stays: {len(admitted):,} of {len({event.patient_id for event in admitted}):,} patients"
    pumps = len({event.patient_id for event in others if isinstance(event, Pump)})
    yield f"pumps: {pumps:,} patients with one in the data" + ("" if pumps else "; say who has one with --pumps")
    yield from counted.remarks
    yield f"{'signal':14} {'rows':>12} {'usable':>8}  not usable"
    by_signal: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (signal, outcome), rows in counted.results.items():
        by_signal[signal][outcome] += rows
    for signal, outcomes in sorted(by_signal.items()):
        rest = ", ".join(f"{outcome} {rows:,}" for outcome, rows in outcomes.most_common() if outcome != TAKEN)
        share = outcomes[TAKEN] / outcomes.total()
        yield f"{signal:14} {outcomes.total():>12,} {share:>8.2%}  {rest}".rstrip()
    yield from _most("units that are not known", [(f"{s} {u!r}", rows) for (s, u), rows in counted.units.items()])
    yield from _most("left out", [(f"{topic}: {why}", rows) for (topic, why), rows in counted.rejected.items()])
    if not counted.items:
        return
    items = item_map(format_name.replace("-", "_"))
    unread = counted.unread(items)
    rows = sum(map(Counter.total, counted.items.values()))
    yield f"items: {sum(map(len, counted.items.values())) - len(unread)} of them read, {len(unread)} not; rows: {rows:,}"
    alike = counted.alike(items)
    yield from _most("not read, and named like a signal", _told(alike))
    yield from _most("not read", _told([one for one in unread if one not in alike]))


def _told(found: list[tuple[str, str, str, int]]) -> list[tuple[str, int]]:
    return [(f"{table} {item}" + ("" if label == item else f" {label}"), rows) for table, item, label, rows in found]


def _most(title: str, found: list[tuple[str, int]]) -> Iterator[str]:
    """The most frequent of a list, under its title."""
    if found:
        yield f"{title}:"
        yield from (f"  {rows:>12,}  {name}" for name, rows in sorted(found, key=lambda one: -one[1])[:SHOWN])
        if len(found) > SHOWN:
            yield f"  and {len(found) - SHOWN} more"


def _read_labels(folder: Folder, counted: Survey) -> None:
    for name, item, label in DICTIONARIES:
        table = folder.table(name, Columns({item: TEXT, label: TEXT}, {}), required=False)
        if table is not None:
            counted.labels.update(
                (_number(found), words)
                for found, words in table.whole().select(item, label).iter_rows()
                if found and words
            )


def _number(code: str) -> str:
    """The item of a MEDS code, LAB//50912//mg/dL; another code is one."""
    return code.split("//")[1] if "//" in code else code


def _words(catalogue: Catalogue) -> re.Pattern[str]:
    """The names and aliases of signals as whole words; those of two letters are words of anything."""
    known = {
        one for one in chain(catalogue.codes, catalogue.loose_codes) if len(one) > 2 and re.search(r"[a-z]{3}", one)
    }
    known -= {"map", "got", "scr", "tmp", "resp", "urine"}  # words of other things
    return re.compile(rf"(?i)\b(?:{'|'.join(sorted(map(re.escape, known), key=len, reverse=True))})\b")
