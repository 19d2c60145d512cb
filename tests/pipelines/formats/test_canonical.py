import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import InputError
from detector.events import (
    Acknowledgement,
    Condition,
    Context,
    Encounter,
    Merged,
    Observation,
    Position,
    Pump,
    Ticked,
    TimeMoved,
)
from pipelines.formats.canonical import KINDS, REASONS, decode, decode_journal, encode

PLATELETS = {
    "type": "observation",
    "patient_id": "p-1",
    "stay_id": "s-1",
    "code": "plt",
    "value": 9,
    "unit": "K/uL",
    "effective_at": "2026-03-01T08:05:00Z",
    "available_at": "2026-03-01T09:01:00.5+00:00",
}
WITHIN = Position("icu.observations", 3, 17)

EVENTS = [
    Observation(
        patient_id="p-1",
        stay_id="s-1",
        code="temp",
        value=40.3,
        unit="Cel",
        effective_at=1_000,
        available_at=2_000,
        flags=("hemolyzed",),
        site="core",
        status="corrected",
        observation_id="o-1",
        reference_high=37.0,
        source="monitor",
    ),
    Pump(patient_id="p-1", event="low_reservoir_on", at=1, available_at=2, date=3, daily_dose_ug=260.0),
    Encounter(
        patient_id="p-1",
        stay_id="s-1",
        event="admitted",
        at=1,
        available_at=2,
        baseline={"creat": 0.6},
        conditions=(Condition("sci_t6_or_above", 5), Condition("cerebral_palsy")),
    ),
    Context(patient_id="p-1", kind="sedation", event="started", at=1, available_at=2, detail="propofol"),
    Acknowledgement(
        patient_id="p-1", alert_id="a", action="snooze", reason="other", by="b", at=1, available_at=1, until=9
    ),
    TimeMoved(at=0),
]


def raw(**changes):
    return json.dumps({key: value for key, value in (PLATELETS | changes).items() if value != "absent"}).encode()


def refusal(record, **options):
    """The error that decoding gives. None = the record was taken."""
    try:
        decode(record, **options)
    except InputError as error:
        return error
    return None


def reason(record, **options):
    error = refusal(record, **options)

    assert error is not None
    assert error.reason in REASONS
    return error.reason


def test_an_observation_is_decoded_with_its_times_in_milliseconds():
    event = decode(raw(), topic="observations", position=WITHIN)

    assert event == Observation(
        patient_id="p-1", stay_id="s-1", code="plt", value=9.0, unit="K/uL", effective_at=1_772_352_300_000,
        available_at=1_772_355_660_500, position=WITHIN,
    )  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_is_read_back_as_it_was_written(event):
    assert event == decode(encode(event))


@pytest.mark.parametrize(
    "event", [*EVENTS, Ticked(60_000), Merged(patient_id="b", from_patient_id="a", available_at=1, payload=b"\x00\xff")]
)
def test_the_journal_reads_ticks_merges_and_positions_back(event):
    with_position = event if isinstance(event, Ticked) else type(event)(**{
        name: getattr(event, name) for name in event.__struct_fields__
    } | {"position": WITHIN})  # fmt: skip

    assert with_position == decode_journal(encode(with_position, with_position=True))


def test_ticks_and_merges_cannot_come_in_where_anyone_may_write():
    merge = encode(Merged(patient_id="b", from_patient_id="a", available_at=1, payload=b""))

    assert reason(encode(Ticked(0))) == "unknown_type"
    assert reason(merge) == "unknown_type"
    assert reason(merge, topic="observations") == "unknown_type"
    assert decode(merge, topic="merges").from_patient_id == "a"


def test_available_at_is_the_brokers_timestamp_and_without_one_when_it_happened():
    late = raw(available_at="absent")

    assert decode(late, timestamp=5_000).available_at == 5_000
    assert decode(late, timestamp=-1).available_at == 1_772_352_300_000
    assert decode(late).available_at == 1_772_352_300_000


def test_a_topic_gives_the_type_and_takes_no_other():
    assert decode(raw(type="absent"), topic="observations").code == "plt"
    assert reason(raw(), topic="pumps") == "wrong_topic"
    assert decode(encode(TimeMoved(at=7)), topic="pumps") == TimeMoved(at=7)


def test_a_file_may_have_a_default_type():
    line = b'{"patient_id":"p","event":"implanted","at":"2026-01-01T00:00:00Z"}'

    assert decode(line, default_type="pump").event == "implanted"
    assert decode(raw(), default_type="pump").code == "plt"
    assert reason(line) == "missing_key"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, "tombstone"),
        (b"", "json"),
        (b"{", "json"),
        (raw().replace(b"9,", b"NaN,"), "json"),
        (raw().replace(b"9,", b"-Infinity,"), "json"),
        (b"null", "wrong_type"),
        (b"[]", "wrong_type"),
        (raw(value="9"), "wrong_type"),
        (raw(value=True), "wrong_type"),
        (raw(patient_id=1), "wrong_type"),
        (raw().replace(b"9,", b"1e999,"), "not_finite"),
        (raw(patient_id="absent"), "missing_key"),
        (raw(patient_id=""), "missing_key"),
        (raw(effective_at="absent"), "missing_key"),
        (raw(patient_id="a\u0000b"), "bad_identity"),
        (raw(patient_id="x" * 257), "bad_identity"),
        (raw(status="finale"), "bad_value"),
        (raw(type="observations"), "unknown_type"),
        (raw(effective_at="2026-03-01T08:05:00"), "naive_time"),
        (raw(effective_at="0026-03-01T08:05:00Z"), "bad_time"),
        (raw(available_at="yesterday"), "bad_time"),
        (raw(value=None), "no_value"),
        (raw(value="absent", value_text=""), "no_value"),
        (raw(note="x" * (1 << 20)), "oversize"),
        (raw(note="").replace(b'""', b'"\xff"'), "encoding"),
        (raw(note="").replace(b'""', b"[" * 100_000), "too_deep"),
        (raw(note="").replace(b'""', b"[" * 32 + b"]" * 32), "too_deep"),
        (raw()[:-1] + b',"code":"ck"}', "duplicate_key"),
        (raw()[:-1] + b', "c\\u006fde" : "ck"}', "duplicate_key"),
        (raw(note="").replace(b'""', b'{"a":1,"a":2}'), "duplicate_key"),
    ],
)
def test_a_record_that_cannot_be_used_has_a_reason_from_the_list(record, expected):
    assert expected == reason(record)
    assert expected == reason(record, topic="observations")


@pytest.mark.parametrize(
    "record",
    [
        raw(value=None, value_text="not done"),
        raw(value=None, status="cancelled"),
        raw(note={"deep": [[[[1]]]]}, more=None),
        raw(note="").replace(b'""', b"[" * 31 + b"]" * 31),
        raw(note="[" * 100),
        raw(note='a "code": quoted'),
        raw(patient_id="\u00e9\u4e2d \U0001f600"),
        raw(value=250_000),
    ],
)
def test_odd_but_right_records_are_taken(record):
    assert decode(record, topic="observations").code == "plt"


def test_nested_keys_may_repeat_between_objects():
    event = decode(encode(EVENTS[2]))

    assert [one.code for one in event.conditions] == ["sci_t6_or_above", "cerebral_palsy"]


def test_no_message_repeats_a_value():
    secret = "Jane-Doe-4711"
    for record in (raw(status=secret), raw(type=secret), raw(effective_at=secret), raw(value=secret), raw(sex=secret)):
        assert secret not in str(refusal(record))


def test_the_public_json_suite_is_taken_or_refused_as_it_says(shared):
    """Each text of the suite stands as a value inside a right record: what must be refused is, and nothing crashes."""
    files = sorted((shared / "corpora/jsontestsuite/test_parsing").iterdir())
    wrong = []
    for file in files:
        record = raw(note="").replace(b'""', file.read_bytes())
        error = refusal(record)

        assert error is None or error.reason in REASONS
        if file.name[0] in "yn" and (error is None) != (file.name[0] == "y"):
            wrong.append(file.name)

    assert [] == wrong
    assert len(files) > 100


@given(st.binary(max_size=200))
def test_random_bytes_are_an_event_or_an_input_error(junk):
    for topic in (None, *KINDS):
        error = refusal(junk, topic=topic)

        assert error is None or error.reason in REASONS


@given(st.integers(0, len(raw())), st.binary(max_size=3))
def test_a_damaged_record_is_an_event_or_an_input_error(where, junk):
    whole = raw()
    error = refusal(whole[:where] + junk + whole[where + len(junk) :])

    assert error is None or error.reason in REASONS


FURTHEST = st.sampled_from([
    "0001-01-01T00:00:00Z", "1899-12-31T23:59:59.999Z", "1900-01-01T00:00:00Z", "1900-01-01T00:00:00+00:01",
    "2026-03-01T08:05:00.123Z", "2299-12-31T23:59:59.999Z", "2299-12-31T23:59:59-00:01", "9999-12-31T23:59:59-23:00",
])  # fmt: skip
TIMED = {
    "observation": {"code": "temp", "value": 38, "effective_at": None, "available_at": None},
    "pump": {"event": "low_reservoir_on", "at": None, "available_at": None, "date": None},
    "encounter": {
        "stay_id": "s", "event": "admitted", "at": None, "available_at": None, "conditions": [{"code": "c", "since": None}],
    },
    "context": {"kind": "fall", "event": "noted", "at": None, "available_at": None},
    "acknowledgement": {
        "alert_id": "a", "action": "snooze", "reason": "other", "by": "me", "at": None, "available_at": None, "until": None,
    },
    "time": {"at": None},
}  # fmt: skip


@pytest.mark.parametrize("kind", TIMED)
@given(data=st.data())
def test_every_time_of_an_event_is_within_1900_to_2299_and_is_read_back_as_it_was_written(kind, data):
    def timed(value):
        if isinstance(value, dict):
            return {key: timed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [timed(inner) for inner in value]
        return data.draw(FURTHEST) if value is None else value

    record = {"type": kind, "patient_id": "p"} | timed(TIMED[kind])
    event = refused = None
    try:
        event = decode(json.dumps(record).encode())
    except InputError as error:
        refused = error.reason

    assert "bad_time" == refused or event == decode(encode(event)) == decode_journal(encode(event))


@pytest.mark.parametrize(
    "record",
    [
        {"type": "time", "at": "9999-12-31T00:00:00Z"},
        {"type": "encounter", "stay_id": "s", "event": "admitted", "at": "2026-03-01T08:05:00Z",
         "conditions": [{"code": "c", "since": "0900-01-01T00:00:00Z"}]},
        {"type": "acknowledgement", "alert_id": "a", "action": "snooze", "reason": "other", "by": "me",
         "at": "2026-03-01T08:05:00Z", "until": "9999-12-31T23:59:59-23:00"},
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_is_refused_wherever_it_stands(record):
    with pytest.raises(InputError) as refused:
        decode(json.dumps({"patient_id": "p"} | record).encode())

    assert "bad_time" == refused.value.reason
