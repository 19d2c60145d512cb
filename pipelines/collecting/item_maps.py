"""Item maps of data sets: which item of which table is which of our codes, as YAML with a source for each row.

A map names codes and unit spellings of the catalogue and converts nothing: an item whose unit is not given by its rows
has it written here, from the data set's own documentation, or has none.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import polars as pl

from detector.clock import parse_duration
from detector.errors import ConfigError
from detector.events import ContextChange, ContextKind
from pipelines.yaml_files import read_yaml


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item that is a signal of ours. ``delay`` None = its rows say when the record had them."""

    item: str
    code: str
    label: str
    source: str
    unit: str | None = None
    site: str | None = None
    delay: str | None = None
    not_testable: tuple[str, ...] = ()
    """Texts of this item whose number is no measurement, such as a verbal response through a tube."""


class ContextItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item that is a treatment or a finding. ``event`` None = started and stopped, from its two times."""

    item: str
    kind: ContextKind
    label: str
    source: str
    event: ContextChange | None = None


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item that looks like a signal of ours and is not read, and why."""

    item: str
    label: str
    because: str


class ItemMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The items of a data set by table."""

    data_set: str
    observations: dict[str, tuple[Item, ...]]
    context: dict[str, tuple[ContextItem, ...]] = {}
    left_out: dict[str, tuple[LeftOut, ...]] = {}

    def frame(self, table: str) -> pl.DataFrame:
        """The items of a table as columns item, code, item_unit, item_site, delay (ms), source, not_testable."""
        items = self.observations.get(table, ())
        return pl.DataFrame(
            {
                "item": [one.item for one in items],
                "code": [one.code for one in items],
                "item_unit": [one.unit for one in items],
                "item_site": [one.site for one in items],
                "delay": [None if one.delay is None else parse_duration(one.delay) for one in items],
                "source": [one.label for one in items],
                "not_testable": [list(one.not_testable) for one in items],
            },
            schema=_FRAME,
        )


_FRAME: dict[str, pl.DataType | type[pl.DataType]] = {
    "item": pl.String, "code": pl.String, "item_unit": pl.String, "item_site": pl.String, "delay": pl.Int64,
    "source": pl.String, "not_testable": pl.List(pl.String),
}  # fmt: skip


@cache
def item_map(name: str) -> ItemMap:
    """The map of a data set, ``pipelines/datasets/<name>.yaml``.

    Raises:
        ConfigError: it is not there, not such a map, or names an item of a table twice.
    """
    path = Path(__file__).parent.parent / "datasets" / f"{name}.yaml"
    try:
        read = msgspec.convert(read_yaml(path), ItemMap, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            [f"{path}: {error}; expected an item map as pipelines/collecting/item_maps.py describes"]
        ) from error
    for part in (read.observations, read.context, read.left_out):
        for table, items in part.items():
            seen: set[str] = set()
            for one in items:
                if one.item in seen and part is not read.context:
                    raise ConfigError([f"{path}: {table} names the item {one.item!r} twice; expected every item once"])
                seen.add(one.item)
    return read
