"""Replay: the engine over a data set, patient by patient, in a fresh state of its own.

Patients cannot influence each other (DESIGN.md section 4.8), so each has its own ward, and shares of patients may run in
processes of their own; the records come back in one fixed order whatever the number of workers.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
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
from pipelines.settings import Settings

STAY_CLOSES_AFTER = 48 * HOUR + MINUTE
"""A stay without a discharge closes 48 h after its newest event; the minute is the tick that sees it."""

SHARES_PER_WORKER = 16  # enough for a smooth progress bar and even load; a share costs a few ms to hand over


@dataclass
class Outcome:
    """What a replay gave. ``counts`` are the ledger's; ``rejected`` is by (topic, reason); ``events`` were folded."""

    records: list[AlertRecord] = field(default_factory=list)
    stays: list[Exposure] = field(default_factory=list)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    events: int = 0

    def add(self, other: Outcome) -> None:
        self.records += other.records
        self.stays += other.stays
        self.counts += other.counts
        self.rejected += other.rejected
        self.events += other.events


def replay(
    dataset: Dataset, settings: Settings, *, workers: int = 1, progress: Callable[[int], object] = int
) -> Outcome:
    """Run every patient of a data set; ``progress`` is told the events done, share by share.

    Records are ordered by (at, patient, alert, sequence).
    """
    outcome = Outcome(rejected=Counter(dataset.rejected))
    shares = dataset.shares(SHARES_PER_WORKER * workers)
    for part in _in_processes(shares, settings, workers) if workers > 1 else _here(shares, settings):
        outcome.add(part)
        progress(part.events)
    outcome.records.sort(key=lambda record: (record.at, record.patient_id, record.alert_id, record.sequence))
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


def _here(shares: Iterator[Dataset], settings: Settings) -> Iterator[Outcome]:
    plan = load_plan(settings)
    models = open_each(settings, plan)
    return (run_share(plan, models, share) for share in shares)


def _in_processes(shares: Iterator[Dataset], settings: Settings, workers: int) -> Iterator[Outcome]:
    """Outcomes in the order of the shares. An interrupt ends the workers at once instead of waiting for them."""
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_leave_interrupts_to_the_parent)
    try:
        # Only so many shares at once: all of them together are the whole data set.
        work = partial(_work, settings.model_dump_json())
        waiting: deque[Future[Outcome]] = deque()
        for share in shares:
            waiting.append(pool.submit(work, share))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; only the parent answers it


def _work(settings: str, share: Dataset) -> Outcome:
    return run_share(*_plan(settings), share)


@cache  # one plan a worker, read once
def _plan(settings: str) -> tuple[Plan, dict[str, Model]]:
    read = Settings.model_validate_json(settings)
    plan = load_plan(read)
    return plan, open_each(read, plan)
