"""From raw records to events."""

from detector.events import Merged
from pipelines.formats.canonical import encode
from pipelines.intake import take_in
from pipelines.settings import Limits
from pipelines.sources import RawRecord
from pipelines.store import Work


def test_the_limit_of_record_bytes_is_for_feeds_and_not_for_what_a_merged_patient_hands_over() -> None:
    merged = Merged(patient_id="p", from_patient_id="q", available_at=1_000, payload=bytes(2 << 20))
    raw = RawRecord("merges", "itb.merges", 0, 0, 1, 1_000, b"p", encode(merged))
    usable, rejected = take_in([raw], Work(0, {}, {}), Limits(), lambda _: set())

    assert [] == rejected
    assert [merged.payload] == [event.payload for _, event in usable if isinstance(event, Merged)]
