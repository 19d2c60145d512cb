"""Replay: the engine over a data set, patient by patient, in a fresh state of its own.

Patients cannot influence each other (DESIGN.md section 4.8), so each has its own ward, and shares of patients may run in
processes of their own; the records come back in one fixed order whatever the number of workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.engine import Ward
from detector.events import Ticked
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import AlertRecord
from models.quarantine import GuardedModel, Model, Scheduled
from pipelines.burden import Exposure, exposures
from pipelines.dataset import Dataset
from pipelines.merges import run_with_merges
from pipelines.model_files import open_each
from pipelines.outages import outages
from pipelines.plan_files import load_plan
from pipelines.processes import spread
from pipelines.settings import Settings

STAY_CLOSES_AFTER = 48 * HOUR + MINUTE
"""A stay without a discharge closes 48 h after its newest event; the minute is the tick that sees it."""

SHARES_PER_WORKER = 16  # enough for a smooth progress bar and even load; a share costs a few ms to hand over

Opened = tuple[Plan, dict[str, Model]]


@dataclass
class Outcome:
    """What a replay gave. ``counts`` are the ledger's; ``rejected`` is by (topic, reason); ``events`` were folded.

    ``skipped`` are the rows of patients of whom nothing can be alerted (``pipelines.sieve``); their ``stays`` are counted.
    """

    records: list[AlertRecord] = field(default_factory=list)
    stays: list[Exposure] = field(default_factory=list)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    events: int = 0
    skipped: int = 0
    skipped_patients: int = 0

    def add(self, other: Outcome) -> None:
        self.records += other.records
        self.stays += other.stays
        self.counts += other.counts
        self.rejected += other.rejected
        self.events += other.events


Keep = Callable[[str, Dataset, Callable[[Dataset], "Outcome"]], "Outcome"]
"""(plan digest, share, how to run it) -> its outcome, perhaps from an earlier run (``pipelines.resuming``)."""


def replay(
    dataset: Dataset, settings: Settings, *, workers: int = 1, progress: Callable[[int], object] = int,
    keep: Keep | None = None,
) -> Outcome:  # fmt: skip
    """Run every patient of a data set; ``progress`` is told the events done, share by share.

    ``keep``: how the outcome of a share is kept, or taken from an earlier run; None = nothing is kept. It is pickled where
    there are several workers. Records are ordered by (at, patient, alert, sequence).
    """
    outcome = begun(dataset)
    shares = dataset.shares(SHARES_PER_WORKER * workers)
    work = partial(_run, opened(settings), keep) if workers == 1 else partial(_work, settings.model_dump_json(), keep)
    for part in spread(work, shares, workers):
        outcome.add(part)
        progress(part.events)
    in_record_order(outcome)
    return outcome


def in_record_order(outcome: Outcome) -> None:
    """Put the records in the order in which they are written, whoever made them."""
    outcome.records.sort(key=lambda record: (record.at, record.patient_id, record.alert_id, record.sequence))


def begun(dataset: Dataset) -> Outcome:
    """What is known of a data set before anybody is run."""
    outcome = Outcome(rejected=Counter(dataset.rejected))
    if dataset.skipped is not None:
        outcome.skipped, outcome.skipped_patients = dataset.skipped.rows, dataset.skipped.patients
        outcome.stays += dataset.skipped.stays
    return outcome


def run_share(plan: Plan, models: Mapping[str, Model], share: Dataset) -> Outcome:
    """Run the patients of one share, each from nothing to the close of its last stay.

    A model that fails on a patient is left out of that patient's rows (and counted as ``quarantined``), nobody else's: a
    replay must not depend on who else is in it.
    """
    outcome = Outcome()
    out = outages(share.outages)
    ledger = Ledger()
    for events in share.by_person():
        last = max(event.available_at for event in events)
        ward = Ward(plan)
        whole = [*events, Ticked(minute_ceil(last + STAY_CLOSES_AFTER))]
        scorer = Scheduled({name: GuardedModel(model) for name, model in models.items()}, out)
        batch, _ = run_with_merges(plan, ward, whole, scorer, ledger)
        outcome.records += batch.records
        outcome.rejected.update(("observations" if one.signal else "other", one.reason) for one in batch.rejected)
        outcome.stays += exposures(events)
        outcome.events += len(events)
    outcome.counts = ledger.counts
    return outcome


def opened(settings: Settings) -> Opened:
    """What a process needs before it runs a share.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    plan = load_plan(settings)
    return plan, open_each(settings, plan)


def _run(ready: Opened, keep: Keep | None, share: Dataset) -> Outcome:
    run = partial(run_share, *ready)
    return run(share) if keep is None else keep(ready[0].digest, share, run)


def _work(settings: str, keep: Keep | None, share: Dataset) -> Outcome:
    return _run(_of_worker(settings), keep, share)


@cache  # one plan a worker, read once
def _of_worker(settings: str) -> Opened:
    return opened(Settings.model_validate_json(settings))
