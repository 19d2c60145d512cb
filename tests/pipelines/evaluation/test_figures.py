"""Recall, delay, lead, burden and workload of cohorts worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.evaluation.ablation import ablation
from pipelines.evaluation.counting import fired_by_records
from pipelines.evaluation.figures import figures
from pipelines.evaluation.run import against_peers, peer_figures, product_figures
from tests.pipelines.evaluation.toy import course, record, scores_from, stay, stays_from

STAYS = stays_from(
    *(stay(f"b{number}", hours=600, data_set="one" if number else "two") for number in range(4)),  # 100 patient-days
    course("c1", "b1", hours=600, organ_failure_at=60, with_tone=True),
    course("c2", "b2", hours=600, organ_failure_at=60, with_tone=False),
    course("c3", "b3", hours=600, with_tone=False),
    stay("s1", hours=240, kind="septic_shock"),
)  # fmt: skip
RECORDS = [
    record("b0", 10), record("b0", 30), record("b0", 100, "critical", "raised"),
    record("b3", 54), record("c3", 54),  # chance: the twin has it too
    record("c1", 52), record("c2", 70, "watch"), record("c2", 72, "critical", "raised"),
    record("s1", 5), record("s1", 20),
]  # fmt: skip


def only(rows: list[dict[str, Any]], **same: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[key] == value for key, value in same.items())]
    assert 1 == len(found), same
    return found[0]


@pytest.fixture(scope="module")
def product() -> dict[str, Any]:
    return product_figures(RECORDS, STAYS, seed=1)


def test_recall_is_net_of_chance_hits_and_says_what_they_added(product: dict[str, Any]) -> None:
    row = only(product["recall"], tier="warning", severity="moderate", by=None)

    assert (2, 3) == (row["found"].hits, row["found"].of)
    assert 3 == row["found_gross"].hits
    assert 1 == row["twin_alone"].hits


def test_delay_counts_from_the_first_visible_sign_and_lead_to_organ_failure(product: dict[str, Any]) -> None:
    row = only(product["recall"], tier="warning", severity="moderate", by=None)

    assert [4.0, 24.0] == row["delays_hours"]
    assert 14.0 == row["delay_hours"].value
    assert (8.0 - 12.0) / 2 == row["lead_hours"].value  # c1: 8 h before, c2: 12 h after


def test_warned_before_organ_failure_is_among_all_that_failed(product: dict[str, Any]) -> None:
    row = only(product["recall"], tier="warning", severity="moderate", by=None)

    assert (1, 2) == row["before_organ_failure"][3:]


def test_groups_are_given_apart(product: dict[str, Any]) -> None:
    with_tone = only(product["recall"], tier="warning", severity="moderate", by="with_tone", group=True)
    without = only(product["recall"], tier="warning", severity="moderate", by="with_tone", group=False)

    assert ((1, 1), (1, 2)) == (with_tone["found"][3:], without["found"][3:])


def test_burden_is_counted_on_background_stays_per_hundred_days(product: dict[str, Any]) -> None:
    row = only(product["burden"], tier="warning", by=None)

    assert (4.0, 2.0) == (row["per_100_days"].value, row["first_per_100_days"].value)
    assert (2, 4) == row["ever"][3:]
    assert 0.75 == row["share_of_worst_tenth"]


def test_burden_is_given_by_data_set(product: dict[str, Any]) -> None:
    assert 12.0 == only(product["burden"], tier="warning", by="data_set", group="two")["per_100_days"].value
    assert 1.0 == only(product["burden"], tier="critical", by=None)["per_100_days"].value


def test_look_alikes_have_their_own_burden(product: dict[str, Any]) -> None:
    row = only(product["look_alikes"], tier="warning", kind="septic_shock")

    assert 20.0 == row["per_100_days"].value  # two in ten days


def test_ppv_and_workload_follow_from_the_stays(product: dict[str, Any]) -> None:
    row = only(product["value"], tier="warning")

    assert (2, 6) == row["ppv"][3:]  # b0, b3, s1 and c3 were alerted for nothing
    assert 9 / 2 == row["warnings_per_course_found"]
    assert (0.02 * 2 / 3) / (0.02 * 2 / 3 + 0.98 * 0.5) == pytest.approx(row["ppv_at_prevalence"])


def test_no_course_and_no_alert_give_figures_that_cannot_be_said() -> None:
    stays = stays_from(stay("b0"))
    made = figures({"warning": fired_by_records([], stays)}, stays, seed=1)

    assert ([], 0.0) == (made["recall"], made["burden"][0]["per_100_days"].value)
    assert made["value"][0]["ppv"].value is None
    assert made["value"][0]["warnings_per_course_found"] is None


def test_the_ablation_says_what_each_part_won_and_lost() -> None:
    rows = ablation({"rules": RECORDS, "+ personal": [*RECORDS[:5], record("c2", 49), record("c3", 70)]}, STAYS, seed=1)

    assert (None, None, None) == (rows[0]["won"], rows[0]["lost"], rows[0]["p"])
    assert (1, 1, 1.0) == (rows[1]["won"], rows[1]["lost"], rows[1]["p"])
    assert rows[0]["burden"]["per_100_days"].value == rows[1]["burden"]["per_100_days"].value


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ({}, "beats"),
        ({"c1": {50: 9.0}}, "ahead"),
        ({"c1": {50: 9.0}, "c2": {50: 9.0}}, "level"),
        ({"c1": {50: 9.0}, "c2": {50: 9.0}, "c3": {50: 9.0}}, "behind"),
    ],
)  # fmt: skip
def test_a_peer_is_compared_at_the_burden_that_the_product_has(
    product: dict[str, Any], scores: dict[str, Any], verdict: str
) -> None:
    background = {"b0": dict.fromkeys(range(0, 600, 20), 5.0)} if scores else {"b0": dict.fromkeys(range(600), 5.0)}
    peers = {"peer": peer_figures(scores_from(**background, **scores), STAYS, [4.0], seed=1)}
    (row,) = against_peers(product, peers, 4.0)

    assert verdict == row["verdict"]
