"""How large the stored form of the patients in memory is, kept up from what was loaded and what was committed."""

from __future__ import annotations

from collections.abc import Container, Iterable

from detector.snapshot import Changes
from pipelines.store import StoredPatient


class StateSize:
    """Bytes of the patients of one partition number: the head, and the segments of readings."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[int, int]] = {}
        self.bytes = 0

    def loaded(self, patients: Iterable[StoredPatient]) -> None:
        for one in patients:
            self._set(one.patient_id, len(one.head), sum(map(len, one.segments)))

    def stored(self, changed: Iterable[tuple[str, Changes]], in_memory: Container[str]) -> None:
        """Take what was committed; who is not ``in_memory`` any more rests in the store and counts nothing."""
        for patient_id, changes in changed:
            if patient_id not in in_memory:
                self.bytes -= sum(self._of.pop(patient_id, (0, 0)))
                continue
            before = 0 if changes.replace else self._of.get(patient_id, (0, 0))[1]
            self._set(patient_id, len(changes.head), before + len(changes.segment or b""))

    def _set(self, patient_id: str, head: int, segments: int) -> None:
        self.bytes += head + segments - sum(self._of.get(patient_id, (0, 0)))
        self._of[patient_id] = head, segments
