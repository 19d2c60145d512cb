from pathlib import Path

import pytest

from detector.clock import HOUR, from_datetime, to_datetime
from detector.errors import ConfigError
from pipelines.commands.simulate import START
from pipelines.dataset import RANK, Dataset
from pipelines.replay import Outcome, replay
from pipelines.settings import Settings
from pipelines.simulate import Bed, events

BEDS = [
    Bed(1, pump=True, course="published"),
    Bed(2, pump=True, course="withdrawal_moderate", onset_h=2),
    Bed(3, course="hyperthermia", onset_h=3),
]


@pytest.fixture(scope="module")
def ward() -> Dataset:
    made = events(BEDS, from_datetime(START), 48, seed=1)
    return Dataset(
        ("ward.ndjson",), others=[((one.available_at, RANK[type(one)], 0, row), one) for row, one in enumerate(made)]
    )


@pytest.fixture(scope="module")
def alone(ward: Dataset) -> Outcome:
    return replay(ward, Settings())


def test_the_published_case_is_warned_of_on_arrival_and_critical_by_the_first_labs(alone: Outcome) -> None:
    mine = [one for one in alone.records if one.patient_id == "SYN-0001" and one.syndrome == "itb_withdrawal"]
    severities = [one.severity for one in mine if one.state in ("opened", "raised")]

    assert mine[0].at <= _hours(0.5)
    assert "warning" in severities
    first_critical = next(one for one in mine if one.severity == "critical")
    assert first_critical.at <= _hours(2)
    by_labs = [one for one in mine if one.at <= _hours(2)]
    assert {"temp", "ck", "plt", "creat", "ast", "alt", "inr"} <= {
        line.signal for one in by_labs for line in one.evidence
    }


def test_several_workers_give_the_same_records_in_the_same_order(ward: Dataset, alone: Outcome) -> None:
    spread = replay(ward, Settings(), workers=2)

    assert alone.records == spread.records
    assert (alone.counts, alone.rejected, alone.events) == (spread.counts, spread.rejected, spread.events)


def test_patients_do_not_influence_each_other(ward: Dataset, alone: Outcome) -> None:
    for bed in BEDS:
        one = Dataset(ward.files, others=[placed for placed in ward.others if placed[1].patient_id == bed.patient_id])

        assert [record for record in alone.records if record.patient_id == bed.patient_id] == replay(
            one, Settings()
        ).records


def test_every_alert_is_closed_at_the_end(alone: Outcome) -> None:
    last = {record.alert_id: record.state for record in alone.records}

    assert {"resolved"} == set(last.values())


def test_progress_is_told_every_event(ward: Dataset) -> None:
    done: list[int] = []

    replay(ward, Settings(), progress=done.append)

    assert len(ward) == sum(done)


def test_an_error_in_a_worker_ends_the_replay(ward: Dataset, tmp_path: Path) -> None:
    broken = Settings(identity_key_file=str(tmp_path / "nowhere"))

    with pytest.raises(ConfigError):
        replay(ward, broken, workers=2)


def _hours(count: float) -> str:
    return to_datetime(from_datetime(START) + int(count * HOUR)).isoformat()
