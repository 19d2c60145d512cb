"""How large the stored form of the patients in memory is, kept up from what was loaded and what was committed."""

from __future__ import annotations

from collections.abc import Container, Iterable

from detector.snapshot import Changes
from pipelines.store import StoredPatient


class StateSize:
    """Bytes of the patients of one partition number: the head, and the segments of readings."""

    def __init__(self) -> None:
        self._heads: dict[str, int] = {}
        self._segments: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        return sum(self._heads.values()) + sum(self._segments.values())

    def loaded(self, patients: Iterable[StoredPatient]) -> None:
        for one in patients:
            self._heads[one.patient_id] = len(one.head)
            self._segments[one.patient_id] = sum(map(len, one.segments))

    def stored(self, changed: Iterable[tuple[str, Changes]], in_memory: Container[str]) -> None:
        """Take what was committed; who is not ``in_memory`` any more rests in the store and counts nothing."""
        for patient_id, changes in changed:
            if patient_id not in in_memory:
                self._heads.pop(patient_id, None)
                self._segments.pop(patient_id, None)
                continue
            before = 0 if changes.replace else self._segments.get(patient_id, 0)
            self._heads[patient_id] = len(changes.head)
            self._segments[patient_id] = before + len(changes.segment or b"")
