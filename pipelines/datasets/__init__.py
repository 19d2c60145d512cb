"""Formats of retrospective data sets: one module each, found by its name.

A format is a module here, and its name on the command line is the module's with hyphens. Formats of foreign tables have
``load(inputs, collect)``, which hands every row of ours to a ``Collector`` (``DERIVE``: what more is made of a patient's
observations); the others have ``reader(settings)``, which gives a ``read(inputs, stays, context) -> Dataset`` for a site (its
``code_map``, and the codes of the topic that ``file.codes_of`` names). Pumps are declared the same way for all of them, because no public data set
knows an intrathecal pump.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from detector.errors import ConfigError, nearest
from detector.events import Context, Encounter, PatientEvent
from pipelines.collecting.collector import Collector, Told, as_it_is, silent
from pipelines.collecting.finder import Finder
from pipelines.dataset import Dataset, Skipped, declare_pumps, forget_pumps, leave_out
from pipelines.datasets import canonical
from pipelines.settings import CodeMaps, Settings
from pipelines.sieve import ORAL, Sieve

FORMATS: tuple[str, ...] = tuple(sorted(module.name.replace("_", "-") for module in iter_modules(__path__)))
PUMPS = ("all", "none")
"""What can be said of every patient's pump at once."""


def open_dataset(
    format_name: str,
    inputs: Sequence[Path],
    *,
    stays: Path | None,
    pumps: str | None,
    context: Path | None,
    settings: Settings | None = None,
    told: Told = silent,
    sieve: Sieve | None = None,
) -> Dataset:
    """Read a data set and say of its patients whether they have a pump.

    ``pumps``: ``"all"``, ``"none"``, the name of an NDJSON file of pump events (patients it does not name have none),
    or None = only what the inputs themselves say. Where it is given it overrides them: their pump events are counted as
    ``overridden`` and kept out. ``told`` hears which table is read, and how many of its rows have been.
    ``sieve``: leave out whom it can show to have nothing to be alerted of; None = nobody is left out.

    Raises:
        InputRefused: an input cannot be used as a whole.
        ConfigError: an input is not there.
        OSError: an input cannot be read.
    """
    module = import_module(f"{__name__}.{format_name.replace('-', '_')}")
    if pumps == "all":
        sieve = None
    if sieve is not None:
        sieve.patients |= _named(pumps, context)
    if hasattr(module, "load"):
        if sieve is not None:
            finder = Finder(format_name, sieve, pumps_count=pumps is None)
            finder.told = told
            module.load(inputs, finder)
        collect = Collector(format_name, getattr(module, "DERIVE", as_it_is))
        collect.told = told
        collect.only = None if sieve is None else frozenset(sieve.patients)
        module.load(inputs, collect)
        dataset = canonical.add_stays_and_context(collect.dataset(), stays, context)
        if sieve is not None:
            dataset.skipped = Skipped(collect.skipped)
    elif module is canonical and sieve is not None and canonical.can_be_sieved(inputs, settings):
        dataset = canonical.read(inputs, stays, context, sieve)
    else:
        sieve = None
        site = settings or Settings()
        dataset = module.reader(site)(inputs, stays, context)
        if site.file.codes_of is None and any(site.kafka.code_maps.of(topic) for topic in CodeMaps.model_fields):
            dataset.remarks.append(
                "kafka.code_maps is not used: file.codes_of names no topic whose codes the inputs speak"
            )
    if sieve is not None:
        leave_out(dataset, sieve.patients | dataset.same_person().keys(), sieve.spans)
    if pumps is not None and pumps not in PUMPS and not Path(pumps).exists():
        expected = "expected all, none, or an NDJSON file of pump events that is there"
        raise ConfigError([f"--pumps {pumps!r}: no such file; {expected}{nearest(pumps, PUMPS)}"])
    if pumps is not None:
        forget_pumps(dataset)
        known = pumps if pumps in PUMPS else canonical.add_events(dataset, Path(pumps), "pump", others=False)
        declare_pumps(dataset, known)
    return dataset


def _named(pumps: str | None, context: Path | None) -> set[str]:
    """The patients of whom a file of --pumps says anything, or a file of --context that they took baclofen by mouth."""
    found: set[str] = set()
    if pumps is not None and pumps not in PUMPS and Path(pumps).exists():
        found |= canonical.add_events(Dataset(()), Path(pumps), "pump", others=False)
    if context is not None:
        told = Dataset(())
        canonical.add_events(told, context, "context")
        found |= {event.patient_id for _, event in told.others if not _is_of_no_gate(event)}
    return found


def _is_of_no_gate(event: PatientEvent) -> bool:
    """Whether it says nothing that could open the gate."""
    return isinstance(event, Encounter) or (isinstance(event, Context) and event.kind != ORAL)
