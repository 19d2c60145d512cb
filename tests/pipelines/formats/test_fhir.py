"""FHIR R4: what each resource says, and why a part of it is refused."""

import json

import pytest

from detector.catalogue.signals import Named
from detector.errors import InputError
from detector.events import Observation
from pipelines.formats import Decoded, reasons
from pipelines.formats.fhir import REASONS
from tests.pipelines.formats.fhir_resources import (
    AT,
    AT_MS,
    LATER,
    LATER_MS,
    LOINC,
    SNOMED,
    bundle,
    concept,
    fhir,
    observation,
    quantity,
    raw,
)

DECODE = fhir()


def one(resource: dict, **more) -> Observation:
    """The one observation that a resource says."""
    decoded = DECODE(raw(resource), **more)

    assert () == decoded.unread
    (event,) = decoded.events
    assert isinstance(event, Observation)
    return event


def why(decoded: Decoded) -> list[str]:
    return [part.reason for part in decoded.unread]


def refused(value: bytes | None, **more) -> str:
    with pytest.raises(InputError) as error:
        fhir(**more)(value)
    return error.value.reason


# -- Observation -------------------------------------------------------------------------------------------------------


def test_a_result_is_an_observation_with_its_code_value_unit_times_and_identity() -> None:
    event = one(observation(issued=LATER, encounter={"reference": "Encounter/s"}))

    assert ("p", "s", "2157-6", 5250, "U/L") == (
        event.patient_id, event.stay_id, event.code, event.value, event.unit
    )  # fmt: skip
    assert (AT_MS, LATER_MS, "final", "o1") == (
        event.effective_at, event.available_at, event.status, event.observation_id
    )  # fmt: skip


def test_without_issued_the_record_had_it_when_the_broker_got_it_else_when_it_was_measured() -> None:
    assert LATER_MS == one(observation(), timestamp=LATER_MS).available_at
    assert AT_MS == one(observation(), timestamp=-1).available_at
    assert AT_MS == one(observation()).available_at


@pytest.mark.parametrize("comparator", ["<", "<=", ">", ">="])
def test_a_bound_is_a_text_and_never_a_number(comparator: str) -> None:
    event = one(observation(value=quantity(5, comparator=comparator)))

    assert (None, f"{comparator}5", "U/L") == (event.value, event.value_text, event.unit)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"valueString": "12.5"}, "12.5"),
        ({"valueCodeableConcept": concept("260385009", SNOMED, text="Negative")}, "Negative"),
        ({"valueBoolean": True}, "true"),
        ({"valueRange": {"low": quantity(1), "high": quantity(2)}}, "valueRange"),
        ({"valueRatio": {"numerator": quantity(1)}}, "valueRatio"),
        ({"dataAbsentReason": concept("not-performed")}, "not-performed"),
    ],
)
def test_what_is_no_number_stays_a_text(value: dict, text: str) -> None:
    event = one({name: part for name, part in observation(**value).items() if name != "valueQuantity"})

    assert (None, text) == (event.value, event.value_text)


def test_an_integer_is_a_number_in_the_unit_of_its_code() -> None:
    event = one({name: part for name, part in observation("9269-2", valueInteger=6).items() if name != "valueQuantity"})

    assert (6.0, None) == (event.value, event.unit)


def test_a_decimal_is_kept_as_it_is_written() -> None:
    whole = raw(observation()).replace(b"5250", b"37.50")

    assert [37.5] == [event.value for event in DECODE(whole).events]


def test_the_ucum_code_of_a_unit_is_preferred_to_what_is_printed() -> None:
    assert "[degF]" == one(observation("8310-5", {**quantity(98.1, "[degF]"), "unit": "F"})).unit
    assert "F" == one(observation("8310-5", {"value": 98.1, "unit": "F"})).unit
    assert "F" == one(observation("8310-5", {"value": 98.1, "unit": "F", "code": "X", "system": "urn:x"})).unit


def test_the_components_of_a_panel_are_results_of_their_own() -> None:
    parts = [
        {"code": concept("8480-6"), "valueQuantity": quantity(120, "mm[Hg]")},
        {"code": concept("8462-4"), "valueQuantity": quantity(80, "mm[Hg]")},
    ]
    decoded = DECODE(raw({**observation("85354-9", component=parts), "valueQuantity": None}))

    assert () == decoded.unread
    assert [("8480-6", 120, "o1#8480-6"), ("8462-4", 80, "o1#8462-4")] == [
        (event.code, event.value, event.observation_id) for event in decoded.events
    ]


def test_a_component_that_cannot_be_read_costs_no_neighbour() -> None:
    parts = [
        {"code": concept("8480-6"), "valueQuantity": {"value": "120", "unit": "mm[Hg]"}},
        {"code": concept("8462-4"), "valueQuantity": quantity(80, "mm[Hg]")},
        {"code": concept("8478-0")},
    ]
    decoded = DECODE(raw({**observation("85354-9", component=parts), "valueQuantity": None}))

    assert ["8462-4"] == [event.code for event in decoded.events]
    assert [("wrong_type", "component[0].valueQuantity.value", True), ("no_value", "component[2]", True)] == [
        tuple(part) for part in decoded.unread
    ]


def test_a_panel_that_was_entered_in_error_takes_its_components_back_though_it_comes_without_them() -> None:
    decoded = DECODE(raw({**observation("85354-9", status="entered-in-error"), "valueQuantity": None}))

    assert {"o1#8480-6", "o1#8462-4", "o1#8478-0", "o1"} == {event.observation_id for event in decoded.events}
    assert {"entered-in-error"} == {event.status for event in decoded.events}


def test_what_a_corrected_panel_no_longer_says_is_taken_back() -> None:
    systolic = {"code": concept("8480-6"), "valueQuantity": quantity(120, "mm[Hg]")}
    panel = {**observation("85354-9", status="corrected", component=[systolic]), "valueQuantity": None}

    assert [("8480-6", 120.0, "corrected"), ("8462-4", None, "cancelled"), ("8478-0", None, "cancelled")] == [
        (event.code, event.value, event.status) for event in DECODE(raw(panel)).events
    ]
    for kept in ({"status": "final"}, {"id": None}, {"component": [systolic, {"code": {}}]}):
        assert ["8480-6"] == [event.code for event in DECODE(raw(panel | kept)).events]


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled"])
def test_what_was_withdrawn_goes_though_nobody_says_any_more_when_it_was_measured(status: str) -> None:
    for effective in (None, "2026-03-01"):
        (event,) = DECODE(raw(observation(status=status, effectiveDateTime=effective)), timestamp=LATER_MS).events

        assert ("o1", status, LATER_MS) == (event.observation_id, event.status, event.effective_at)
    for nameless in ({"id": None}, {"status": "corrected"}):
        said = observation(effectiveDateTime=None, **({"status": status} | nameless))
        assert ["no_time"] == [part.reason for part in DECODE(raw(said), timestamp=LATER_MS).unread]


def test_a_value_beside_the_reason_why_there_is_none_is_refused() -> None:
    absent = {"dataAbsentReason": concept("error", "http://terminology.hl7.org/CodeSystem/data-absent-reason")}
    decoded = DECODE(raw(observation(**absent)))

    assert ((), ["bad_value"]) == (decoded.events, [part.reason for part in decoded.unread])
    assert 1 == len(DECODE(raw(observation(status="entered-in-error", **absent))).events)


def test_a_list_of_other_results_is_counted_and_kept_out() -> None:
    members = {**observation(hasMember=[{"reference": "Observation/a"}]), "valueQuantity": None}

    assert [("panel", False)] == [(part.reason, part.refused) for part in DECODE(raw(members)).unread]


@pytest.mark.parametrize(
    "status", ["registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error"]
)
def test_the_life_cycle_of_a_result_is_kept(status: str) -> None:
    assert status == one(observation(status=status)).status


def test_a_status_nobody_knows_is_refused() -> None:
    assert ["bad_value"] == why(DECODE(raw(observation(status="unknown"))))


def test_a_result_that_says_nothing_is_refused_unless_its_status_needs_no_value() -> None:
    def empty(status: str) -> dict:
        return {**observation(status=status), "valueQuantity": None}

    assert ["no_value"] == why(DECODE(raw(empty("final"))))
    assert [None, None] == [one(empty(status)).value for status in ("registered", "cancelled")]


@pytest.mark.parametrize("date", ["2026", "2026-03", "2026-03-01"])
def test_a_date_names_no_instant_and_none_is_invented(date: str) -> None:
    assert ["date_only"] == why(DECODE(raw(observation(effectiveDateTime=date))))
    assert ["date_only"] == why(DECODE(raw(observation(issued=date))))


def test_a_time_without_an_offset_is_the_sites() -> None:
    berlin = fhir(timezone="Europe/Berlin")
    summer = berlin(raw(observation(effectiveDateTime="2026-10-25T02:30:00.250")))

    assert [AT_MS] == [event.effective_at for event in berlin(raw(observation(effectiveDateTime=AT[:19]))).events]
    assert ("doubled_hour",) == summer.remarks
    assert [250] == [event.effective_at % 1_000 for event in summer.events]
    assert ["bad_time"] == why(berlin(raw(observation(effectiveDateTime="2026-02-30T02:30:00"))))


def test_a_period_counts_from_its_end_and_an_instant_is_a_time() -> None:
    timeless = {name: part for name, part in observation().items() if name != "effectiveDateTime"}

    assert LATER_MS == one({**timeless, "effectivePeriod": {"start": AT, "end": LATER}}).effective_at
    assert AT_MS == one({**timeless, "effectivePeriod": {"start": AT}}).effective_at
    assert AT_MS == one({**timeless, "effectiveInstant": AT}).effective_at
    assert ["no_time"] == why(DECODE(raw(timeless)))


def test_the_site_of_a_temperature_comes_from_its_code_or_body_site() -> None:
    warm = quantity(38.5, "Cel")
    narrow = {"coding": [{"system": LOINC, "code": code} for code in ("8310-5", "8329-5", "8328-7")]}

    assert "8328-7" == one(observation(narrow, warm)).code
    assert "89837001" == one(observation("8310-5", warm, bodySite=concept("89837001", SNOMED))).site
    assert "Mouth" == one(observation("8310-5", warm, bodySite={"coding": [{"code": "m", "display": "Mouth"}]})).site
    assert "toe" == one(observation("8310-5", warm, bodySite={"text": "toe"})).site


def test_the_upper_limit_of_normal_is_read_where_there_is_one_for_everybody() -> None:
    high = {"high": quantity(235)}
    men = {"high": quantity(400), "appliesTo": [concept("male")]}
    toxic = {"high": quantity(900), "type": concept("toxic")}

    assert 235 == one(observation(referenceRange=[high])).reference_high
    assert 235 == one(observation(referenceRange=[{"high": {"value": 235}}, men, toxic])).reference_high
    assert 235 == one(observation(referenceRange=[{**high, "type": concept("normal")}])).reference_high
    for unclear in ([high, high], [men], [{"low": quantity(25)}], [{"high": quantity(4, "ukat/L")}], [toxic]):
        assert one(observation(referenceRange=unclear)).reference_high is None


def test_a_local_code_counts_where_the_site_maps_it() -> None:
    local = concept("CK", "http://hospital.example/lab")
    mapped = fhir({"http://hospital.example/lab|CK": Named("ck", None)})

    assert ["http://hospital.example/lab|CK"] == [event.code for event in mapped(raw(observation(local))).events]
    unmapped = one(observation(local))
    assert "http://hospital.example/lab|CK" == unmapped.code, "the core counts it as unknown_code"


def test_a_result_without_a_patient_or_about_something_else_is_kept_out() -> None:
    assert ["missing_key"] == why(DECODE(raw(observation(subject=None))))
    for elsewhere in ({"subject": {"reference": "Device/d"}}, {"focus": [{"reference": "Patient/fetus"}]}):
        decoded = DECODE(raw(observation(**elsewhere)))
        assert [("other_subject", False)] == [(part.reason, part.refused) for part in decoded.unread]


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/p"},
        {"reference": "https://fhir.example/r4/Patient/p"},
        {"reference": "Patient/p/_history/3"},
        {"identifier": {"system": "urn:mrn", "value": "p"}},
        {"reference": "#c"},
        {"reference": "urn:uuid:p"},
    ],
)
def test_a_patient_is_known_by_every_kind_of_reference(subject: dict) -> None:
    contained = [{"resourceType": "Patient", "id": "c", "identifier": [{"value": "p"}]}]

    assert "p" == one(observation(subject=subject, contained=contained)).patient_id


def test_extensions_change_nothing_and_a_modifier_extension_refuses() -> None:
    extension = [{"url": "http://example.org/x", "valueDecimal": 1}]

    assert 5250 == one(observation(extension=extension, _status={"extension": extension})).value
    assert ["modified"] == why(DECODE(raw(observation(modifierExtension=extension))))
    part = {"code": concept("8480-6"), "valueQuantity": quantity(120, "mm[Hg]"), "modifierExtension": extension}
    assert ["modified"] == why(DECODE(raw({**observation("85354-9", component=[part]), "valueQuantity": None})))


# -- records -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["document", "message", "transaction", "batch", "history", "searchset", "collection", "subscription"]
)
def test_every_type_of_bundle_is_read_entry_by_entry(kind: str) -> None:
    whole = bundle(observation(), observation(id="o2", subject={"reference": "Patient/q"}), kind=kind)

    assert [("p", "o1"), ("q", "o2")] == [
        (event.patient_id, event.observation_id) for event in DECODE(raw(whole)).events
    ]


def test_a_bad_entry_costs_no_neighbour() -> None:
    whole = bundle(observation(), observation(id="o2", status=7), {"resourceType": "Basic"}, {"id": "typeless"})
    whole["entry"] += [
        {"response": {"status": "200"}},
        {"request": {"method": "DELETE", "url": "Observation/o3"}},
        {"resource": []},
        observation(id="naked"),
    ]
    decoded = DECODE(raw(whole))

    assert ["o1"] == [event.observation_id for event in decoded.events]
    assert {
        "entry[1]": ("wrong_type", True), "entry[2]": ("unread_type", False), "entry[3]": ("missing_key", True),
        "entry[4]": ("no_resource", False), "entry[5]": ("deleted", True), "entry[6]": ("wrong_type", True),
        "entry[7]": ("no_resource", False),
    } == {part.where.partition(".")[0]: (part.reason, part.refused) for part in decoded.unread}  # fmt: skip


def test_resources_of_a_bundle_find_each_other_whatever_their_order() -> None:
    whole = bundle(observation(subject={"reference": "urn:uuid:1"}))
    whole["entry"].append({"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "p"}})
    whole["entry"].append({"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Device", "id": "d"}})
    whole["entry"].append({"resource": observation(subject={"reference": "urn:uuid:2"})})
    decoded = DECODE(raw(whole))

    assert ["p"] == [event.patient_id for event in decoded.events]
    assert "other_subject" in why(decoded)


def test_a_report_lends_its_times_to_the_results_it_lists() -> None:
    timeless = {name: part for name, part in observation().items() if name not in ("effectiveDateTime", "subject")}
    report = {
        "resourceType": "DiagnosticReport", "id": "r", "subject": {"reference": "Patient/p"},
        "encounter": {"reference": "Encounter/s"}, "effectiveDateTime": AT, "issued": LATER,
    }  # fmt: skip
    named = DECODE(raw(bundle(timeless, {**report, "result": [{"reference": "Observation/o1"}]}))).events
    held = DECODE(raw({**report, "contained": [timeless], "result": [{"reference": "#o1"}]}))

    for events, own_id in ((named, "o1"), (held.events, "r#o1")):
        assert [("p", "s", AT_MS, LATER_MS, own_id, 5250)] == [
            (e.patient_id, e.stay_id, e.effective_at, e.available_at, e.observation_id, e.value) for e in events
        ]
    assert () == held.unread


def test_several_resources_may_come_one_a_line_and_a_bad_line_costs_no_other() -> None:
    lines = [raw(observation()), b"{", b"", b'{"a":1}', raw(observation(id="o2")), b'{"resourceType":"X","a":1,"a":2}']
    decoded = DECODE(b"\n".join(lines))

    assert ["o1", "o2"] == [event.observation_id for event in decoded.events]
    assert ["json", "missing_key", "duplicate_key"] == why(decoded)


def test_a_resource_that_is_printed_over_many_lines_is_one() -> None:
    assert 1 == len(DECODE(json.dumps(observation(), indent=1).encode()).events)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b"", "json"),
        (b"[]", "wrong_type"),
        (b"null", "wrong_type"),
        (b"{", "json"),
        (b'{"status":"final"}', "missing_key"),
        (b' \n<Observation xmlns="http://hl7.org/fhir"/>', "xml"),
        (b"\xef\xbb\xbf<a/>", "xml"),
        (b'{"resourceType":"Observation","resourceType":"Patient"}', "duplicate_key"),
        (b'{"resourceType":"\xff"}', "encoding"),
        (b'{"resourceType":"Basic","a":' + b"[" * 40 + b"]" * 40 + b"}", "too_deep"),
    ],
)
def test_a_record_that_is_no_resource_is_refused_with_a_reason(value: bytes | None, reason: str) -> None:
    assert reason == refused(value)


def test_a_record_over_the_limit_is_refused_before_it_is_read() -> None:
    assert "oversize" == refused(raw(observation()), record_bytes=100)


def test_a_number_too_large_for_any_result_is_refused() -> None:
    assert ["not_finite"] == why(DECODE(raw(observation()).replace(b"5250", b"1e999")))


def test_every_reason_of_the_decoder_is_a_known_one() -> None:
    assert REASONS.keys() <= reasons().keys()
