"""The report of a replay: the first page, and the pages of the alerted stays, made one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from detector.catalogue.signals import Catalogue
from detector.plan import Plan
from pipelines.dataset import Dataset
from pipelines.processes import spread
from pipelines.replay import Outcome
from pipelines.reports.alerted import alerted_stays
from pipelines.reports.course import Part, courses, parts
from pipelines.reports.overview import notices, overview
from pipelines.reports.stay_page import Information, stay_page
from pipelines.yaml_files import read_yaml

MOST_PAGES = 200


def report(
    dataset: Dataset,
    outcome: Outcome,
    summary: Mapping[str, Any],
    plan: Plan,
    *,
    most: int = MOST_PAGES,
    workers: int = 1,
) -> tuple[str, int, Iterator[tuple[str, str]]]:
    """The first page; how many stays have a page, at most ``most``, the most severe; and (file name, page) of each.

    The pages are made while they are asked for, from a second reading of those stays alone, by ``workers`` processes.
    """
    stays = alerted_stays(outcome.records, plan.identity_key)
    shown = stays[:most]
    made = spread(partial(_pages, plan.catalogue, notices(summary["run"])), parts(dataset, shown), workers)
    first = overview(outcome, summary, stays, {stay.name for stay in shown})
    return first, len(shown), (page for some in made for page in some)


def _pages(catalogue: Catalogue, said: Sequence[str], part: Part) -> list[tuple[str, str]]:
    return [
        (stay.file, stay_page(stay, course, catalogue, information(), notices=said))
        for stay, course in courses(part, catalogue)
    ]


@cache
def information() -> Information:
    """What is told beside an alert of a syndrome: information, not orders."""
    read: Information = read_yaml(Path(__file__).with_name("information.yaml"))
    return read
