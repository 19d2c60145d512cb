"""Alert records in the forms that hospital systems take: one module each, found by its name.

An export is a module here with ``exporter(catalogue, identifiers) -> Export``. It reads one record and knows nothing else, so the same
record always gives the same bytes. What each form holds stands in docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Final, Protocol

from detector.catalogue.signals import Catalogue
from detector.records import AlertRecord
from pipelines.settings import Hl7v2

EXPORTS: Final = {"fhir": "alerts.fhir.ndjson", "hl7v2": "alerts.hl7"}
"""Words for ``--export``, and the file that ``replay`` writes: one document a line."""

NOTICES: Final = frozenset({"opened", "raised", "reminded"})
"""Steps of an alert that ask for somebody's attention."""


class Export(Protocol):
    """Writes alert records in one form."""

    def __call__(self, record: AlertRecord) -> Iterator[bytes]:
        """The documents of a record, each without a line feed in it."""


def exporter(name: str, catalogue: Catalogue, identifiers: Hl7v2) -> Export:
    """The export of that name, a key of ``EXPORTS``. ``identifiers`` says how the site's patients are known."""
    made: Export = import_module(f"{__name__}.{name}").exporter(catalogue, identifiers)
    return made


def told(record: AlertRecord) -> list[str]:
    """What a reader needs beside the headline, a sentence or list each: checks, gaps and other explanations."""
    parts = [
        ("Check", record.checks),
        ("Not known", record.missing),
        ("Speaks against it", record.against),
        ("Also think of", tuple(f"{one.name} ({one.because})" for one in record.differentials)),
    ]
    return [f"{title}: {'; '.join(texts)}" for title, texts in parts if texts]
