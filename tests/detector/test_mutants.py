"""Seeded mutants of the core: each plausible mistake must be seen by a property or by a rule example.

A test that cannot fail proves nothing; these break the code on purpose and see the checks fail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from detector import deciding, encoding, engine, fuse, picture, windows
from detector.plan import Plan
from detector.rules import view
from detector.rules.truth import TRUE
from tests.detector import test_properties as properties
from tests.detector.courses import Course, in_order, numbered

pytestmark = pytest.mark.search
TRIES = 60
Check = Callable[[Plan, int], None]


def _course_check(test: Any, *more: Any) -> Check:
    return lambda plan, number: test.hypothesis.inner_test(plan, numbered(number), *more)


def _ward(number: int) -> Course:
    events = [event for k in range(3) for event in numbered(1000 * k + number, f"p{k}").events]
    return Course(tuple(in_order(list(events))), f"ward {number}")


order_does_not_matter = _course_check(
    properties.test_the_state_after_an_instant_does_not_depend_on_the_order_of_its_records, 7
)
batches_do_not_matter = _course_check(properties.test_batches_may_be_cut_anywhere, [3, 40, 90, 200])
storing_does_not_matter = _course_check(
    properties.test_a_patient_stored_and_loaded_at_any_event_goes_on_as_if_nothing_happened, [0.3, 0.6, 0.8]
)


def others_do_not_matter(plan: Plan, number: int) -> None:
    properties.test_patients_do_not_influence_each_other.hypothesis.inner_test(plan, _ward(number))


def a_closed_gate_says_nothing(plan: Plan, number: int) -> None:
    properties.test_without_a_pump_nothing_is_said_about_withdrawal.hypothesis.inner_test(plan, numbered(number))


def staleness_is_unknown(plan: Plan, number: int) -> None:
    properties.test_silence_is_not_reassurance.hypothesis.inner_test(plan, numbered(number))


def _append_instead_of_insert(patch: pytest.MonkeyPatch) -> None:
    def append(self: windows.Series, reading: windows.Reading) -> bool:
        for column, value in ((self.at, reading.at), (self.value, reading.value), (self.effective, reading.effective_at),
                              (self.available, reading.available_at), (self.usable, 1)):  # fmt: skip
            column.append(value)
        self.meta.append(reading.meta)
        self.ids.append(reading.observation_id)
        self._count(reading.at, reading.value)
        return True

    patch.setattr(windows.Series, "insert", append)


def _nothing_goes_stale(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(view.View, "stale_after", lambda _self, _signal: 10**12)


def _pass_two_sees_the_rest_of_the_batch(patch: pytest.MonkeyPatch) -> None:
    keep = picture.Picture._step

    def live(self: picture.Picture, patient: Any, *args: Any, **kwargs: Any) -> Any:
        step = keep(self, patient, *args, **kwargs)
        step.found = patient.found
        return step

    patch.setattr(picture.Picture, "_step", live)


def _life_cycle_is_not_stored(patch: pytest.MonkeyPatch) -> None:
    from detector import snapshot

    def forgetful(head: bytes) -> Any:
        patient = encoding.decode_head(head)
        patient.episodes, patient.base = {}, {}
        return patient

    patch.setattr(snapshot, "decode_head", forgetful)


def _gate_is_always_open(patch: pytest.MonkeyPatch) -> None:
    def opened(book: Any, found: Any, **kwargs: Any) -> Any:
        if found:
            found = {**found, book.gate: found[book.gate]._replace(truth=TRUE)}
        return fuse.fuse(book, found, **kwargs)

    patch.setattr(deciding, "fuse", opened)


def _one_clock_for_all(patch: pytest.MonkeyPatch) -> None:
    newest = [0]
    real = engine.last_tick_before

    def shared_clock(at: int) -> int:
        newest[0] = max(newest[0], real(at))
        return newest[0]

    def fold(self: Any, patient: Any, event: Any, at: int, keep: Any = picture.Picture.fold) -> None:
        keep(self, patient, event, max(at, newest[0] + 3_600_000))

    patch.setattr(engine, "last_tick_before", shared_clock)
    patch.setattr(picture.Picture, "fold", fold)


MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Check]] = {
    "a late reading is appended instead of inserted": (_append_instead_of_insert, order_does_not_matter),
    "staleness is ignored": (_nothing_goes_stale, staleness_is_unknown),
    "a window looks ahead": (_pass_two_sees_the_rest_of_the_batch, batches_do_not_matter),
    "a stored patient forgets its life cycle": (_life_cycle_is_not_stored, storing_does_not_matter),
    "the gate is ignored": (_gate_is_always_open, a_closed_gate_says_nothing),
    "ticks of one patient are moved by another": (_one_clock_for_all, others_do_not_matter),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_is_caught(name: str, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, check = MUTANTS[name]
    check(plan, 1)  # without the mutant the check holds

    mutate(monkeypatch)

    for number in range(TRIES):
        try:
            check(plan, number)
        except Exception:  # noqa: BLE001 - a crash is noticed too
            return
    pytest.fail(f"{TRIES} courses did not notice that {name}")
