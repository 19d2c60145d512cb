"""The report of a replay: the first page, and the pages of the alerted stays, made one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from detector.plan import Plan
from pipelines.dataset import Dataset
from pipelines.replay import Outcome
from pipelines.reports.alerted import Alerted, alerted_stays
from pipelines.reports.course import courses
from pipelines.reports.overview import notices, overview
from pipelines.reports.stay_page import Information, stay_page
from pipelines.yaml_files import read_yaml

MOST_PAGES = 200


def report(
    dataset: Dataset, outcome: Outcome, summary: Mapping[str, Any], plan: Plan, *, most: int = MOST_PAGES
) -> tuple[str, Iterator[tuple[str, str]]]:
    """The first page, and (file name, page) of at most ``most`` stays, the most severe.

    The pages are made while they are asked for, from a second reading of those stays alone.
    """
    stays = alerted_stays(outcome.records, plan.identity_key)
    shown = stays[:most]
    return overview(outcome, summary, stays, {stay.name for stay in shown}), _pages(dataset, shown, summary, plan)


def _pages(
    dataset: Dataset, stays: Sequence[Alerted], summary: Mapping[str, Any], plan: Plan
) -> Iterator[tuple[str, str]]:
    said = notices(summary["run"])
    for stay, course in courses(dataset, stays, plan.catalogue):
        yield stay.file, stay_page(stay, course, plan.catalogue, information(), notices=said)


@cache
def information() -> Information:
    """What is told beside an alert of a syndrome: information, not orders."""
    read: Information = read_yaml(Path(__file__).with_name("information.yaml"))
    return read
