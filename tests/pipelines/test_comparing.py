"""Champion against challenger: what belongs together, who is higher, who is earlier, and what either costs."""

from collections.abc import Sequence

import pytest

from detector.clock import HOUR, rfc3339
from detector.records import AlertRecord, Evidence, Gate, Provenance
from pipelines.comparing import Difference, burden, by_rule, differences, side, table

START = 1_900_022_400_000


def record(
    alert: str, sequence: int, hour: float, severity: str, state: str, *, stay: str = "s", rules: Sequence[str] = ("R-06",),
    before: str | None = None, syndrome: str = "itb_withdrawal",
) -> AlertRecord:  # fmt: skip
    at = rfc3339(START + int(hour * HOUR))
    evidence = tuple(Evidence(rule, "temp", 39.0, "Cel", at, at) for rule in rules)
    return AlertRecord(
        alert_id=alert, sequence=sequence, patient_id="p", stay_id=stay, syndrome=syndrome, severity=severity, state=state,
        previous_severity=before, reason="", at=at, onset_at=at, headline="", evidence=evidence, missing=(), against=(),
        differentials=(), checks=(), score=None, gate=Gate("present", "unknown"), provenance=Provenance("d", "r", {}, ()),
    )  # fmt: skip


def opened(alert: str, hour: float, severity: str, until: float = 100, **more: object) -> list[AlertRecord]:
    return [
        record(alert, 1, hour, severity, "opened", **more),  # type: ignore[arg-type]
        record(alert, 2, until, severity, "resolved", **more),  # type: ignore[arg-type]
    ]


def compared(mine: Sequence[AlertRecord], theirs: Sequence[AlertRecord]) -> list[Difference]:
    return differences(side("champion", mine), side("challenger", theirs))


@pytest.mark.parametrize(
    ("mine", "theirs", "kind", "hours"),
    [
        (opened("a", 0, "warning"), [], "only_champion", None),
        ([], opened("b", 0, "warning"), "only_challenger", None),
        (opened("a", 0, "warning"), opened("b", 2, "warning"), "later", 2.0),
        (opened("a", 3, "warning"), opened("b", 1.5, "warning"), "earlier", -1.5),
        (opened("a", 0, "warning"), opened("b", 1, "critical"), "higher", 1.0),
        (opened("a", 0, "warning"), opened("b", 0, "watch"), "lower", 0.0),
        (opened("a", 0, "warning"), opened("a", 0, "warning"), "same", 0.0),
    ],
)
def test_a_matter_is_named_by_what_the_challenger_does(
    mine: list[AlertRecord], theirs: list[AlertRecord], kind: str, hours: float | None
) -> None:
    (one,) = compared(mine, theirs)

    assert (one.kind, one.hours) == (kind, hours)


def test_alerts_that_stand_together_are_one_matter_and_others_are_not() -> None:
    mine = [*opened("a", 0, "watch", until=5), *opened("b", 4, "warning", until=20), *opened("c", 40, "warning")]
    found = compared(mine, opened("d", 3, "warning", until=30))

    assert [(one.kind, one.champion, one.challenger) for one in found] == [
        ("earlier", "warning", "warning"), ("only_champion", "warning", None)]  # fmt: skip
    apart = compared(opened("a", 0, "watch", stay="s"), opened("a", 0, "watch", stay="t"))
    assert [one.kind for one in apart] == ["only_champion", "only_challenger"]
    assert table(apart)["itb_withdrawal"]["only_champion"] == 1


def test_an_alert_that_both_had_before_is_known_to_the_side_that_says_nothing_of_it() -> None:
    raised = [record("a", 3, 5, "critical", "raised", before="warning")]

    (one,) = compared([], raised)
    assert (one.kind, one.champion, one.challenger) == ("higher", "warning", "critical")
    assert compared([], [record("a", 3, 5, "warning", "resolved", before="warning")]) == [], "nobody was asked"


def test_warnings_count_twelve_hours_apart_and_by_the_rules_behind_them() -> None:
    mine = [
        record("a", 1, 0, "warning", "opened"), record("a", 2, 11.9, "critical", "raised", rules=("C-13",)),
        record("a", 3, 12, "critical", "reminded"), record("b", 1, 12, "warning", "opened", rules=("W-05", "newest")),
        record("c", 1, 12, "warning", "opened", stay="t"), record("d", 1, 30, "watch", "opened"),
    ]  # fmt: skip

    assert [burden(mine, tier) for tier in ("watch", "warning", "critical")] == [4, 3, 1]
    assert by_rule(side("", mine), side("", mine[:1])) == {"R-06": (2, 1), "W-05": (1, 0)}


def test_technical_alerts_of_the_service_are_nobodys_matter() -> None:
    ours = [record("a", 1, 0, "watch", "opened", syndrome="technical", stay=None)]  # type: ignore[arg-type]

    assert side("", ours).records == []
