"""FHIR R4: stays, pumps and treatments."""

import pytest

from detector.events import Context, Encounter, Pump
from pipelines.formats import Decoded
from tests.pipelines.formats.fhir_resources import AT, AT_MS, LATER, LATER_MS, SNOMED, bundle, concept, fhir, raw

DECODE = fhir()
CPT = "http://www.ama-assn.org/go/cpt"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
NDC = "http://hl7.org/fhir/sid/ndc"
P = {"reference": "Patient/p"}
TOLD_MS = LATER_MS + 60_000


def said(*resources: dict, timestamp: int | None = TOLD_MS) -> Decoded:
    return DECODE(raw(bundle(*resources)), timestamp=timestamp)


def events(*resources: dict, timestamp: int | None = TOLD_MS) -> list[tuple]:
    """(event, at, available_at) of each, in the order of the record."""
    decoded = said(*resources, timestamp=timestamp)

    assert () == tuple(part for part in decoded.unread if part.reason != "unread_type")
    return [(event.event, event.at, event.available_at) for event in decoded.events]


def why(*resources: dict, timestamp: int | None = TOLD_MS) -> list[tuple[str, bool]]:
    decoded = said(*resources, timestamp=timestamp)

    assert () == decoded.events
    return [(part.reason, part.refused) for part in decoded.unread if part.reason != "unread_type"]


# -- Encounter ---------------------------------------------------------------------------------------------------------


def encounter(**more) -> dict:
    whole = {
        "resourceType": "Encounter", "id": "s", "status": "in-progress", "class": {"code": "IMP"}, "subject": P,
        "period": {"start": AT},
    }  # fmt: skip
    return whole | more


def test_a_running_encounter_is_an_admission_told_when_the_broker_got_it() -> None:
    assert [("admitted", AT_MS, TOLD_MS)] == events(encounter())
    assert [("admitted", AT_MS, AT_MS)] == events(encounter(), timestamp=None)


def test_a_finished_encounter_tells_of_its_end_and_its_beginning_is_no_news() -> None:
    finished = encounter(status="finished", period={"start": AT, "end": LATER})

    assert [("admitted", AT_MS, AT_MS), ("discharged", LATER_MS, TOLD_MS)] == events(finished)


def test_locations_are_wards_and_beds_and_each_later_one_a_transfer() -> None:
    bed = {"location": {"display": "bed 7"}, "physicalType": concept("bd"), "period": {"start": LATER}}
    ward = {"location": {"reference": "Location/icu-2"}, "period": {"start": AT}}
    decoded = said(encounter(location=[bed, ward]))

    assert [("admitted", "icu-2", None), ("transferred", None, "bed 7")] == [
        (event.event, event.unit, event.bed) for event in decoded.events if isinstance(event, Encounter)
    ]


def test_age_and_sex_come_from_the_patient_beside_it() -> None:
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "2001-03-02"}
    (event,) = (e for e in said(encounter(), patient).events if isinstance(e, Encounter))

    assert (24.0, "female") == (event.age_years, event.sex)
    unknown = said(encounter(), patient | {"birthDate": "2001", "gender": "x"}).events[0]
    assert isinstance(unknown, Encounter)
    assert (None, None) == (unknown.age_years, unknown.sex)


@pytest.mark.parametrize(
    ("more", "reason", "kept"),
    [
        ({"status": "planned"}, "unread_status", False),
        ({"status": "cancelled"}, "unread_status", False),
        ({"status": "entered-in-error"}, "entered_in_error", True),
        ({"class": {"code": "AMB"}}, "unread_class", False),
        ({"period": {"start": "2026-03-01"}}, "date_only", True),
        ({"period": {}}, "no_time", True),
        ({"status": "finished"}, "no_time", True),
        ({"status": "finished", "period": {"start": LATER, "end": AT}}, "bad_time", True),
        ({"id": None}, "missing_key", True),
        ({"subject": None}, "missing_key", True),
    ],
)
def test_an_encounter_that_is_no_stay_is_kept_out_with_its_reason(more: dict, reason: str, kept: bool) -> None:
    assert [(reason, kept)] == why(encounter(**more))


# -- pumps -------------------------------------------------------------------------------------------------------------

PUMP = {"resourceType": "Device", "id": "d", "status": "active", "type": {"text": "SynchroMed II infusion pump"}}


def use(**more) -> dict:
    whole = {
        "resourceType": "DeviceUseStatement", "id": "u", "status": "active", "subject": P,
        "device": {"reference": "Device/d", "display": "Prometra II"}, "recordedOn": LATER,
    }  # fmt: skip
    return whole | more


def test_a_pump_in_use_is_there_from_the_time_it_says_or_else_from_when_it_was_told() -> None:
    assert [("implanted", AT_MS, LATER_MS)] == events(use(timingPeriod={"start": AT}))
    assert [("implanted", LATER_MS, LATER_MS)] == events(use(timingPeriod={"start": "2019-05-03"}))
    assert [("implanted", TOLD_MS, TOLD_MS)] == events(use(recordedOn="2026-03-01"))
    assert [("no_time", True)] == why(use(recordedOn=None), timestamp=None)


def test_a_use_that_ended_is_an_explantation_and_one_that_was_stopped_an_interruption() -> None:
    ended = {"timingPeriod": {"start": "2019", "end": AT}}

    assert [("explanted", AT_MS, LATER_MS)] == events(use(status="completed", **ended))
    assert [("interrupted", AT_MS, LATER_MS)] == events(use(status="stopped", **ended))
    assert [("date_only", True)] == why(use(status="completed", timingPeriod={"end": "2026-03-01"}))
    assert [("no_time", True)] == why(use(status="completed"))


@pytest.mark.parametrize("status", ["stopped", "on-hold"])
def test_a_use_that_is_halted_without_an_end_is_interrupted_by_the_time_it_is_told(status: str) -> None:
    assert [("interrupted", LATER_MS, LATER_MS)] == events(use(status=status))
    assert [("interrupted", LATER_MS, LATER_MS)] == events(use(status=status, timingPeriod={"start": AT}))
    assert [("interrupted", AT_MS, LATER_MS)] == events(use(status=status, timingPeriod={"end": AT}))


def test_what_pump_is_meant_may_stand_in_the_device_beside_it() -> None:
    decoded = said(use(device={"reference": "Device/d"}), PUMP)

    assert [("implanted", LATER_MS)] == [(event.event, event.at) for event in decoded.events if isinstance(event, Pump)]
    assert [("other_subject", False)] == [(part.reason, part.refused) for part in decoded.unread], "a Device of nobody"
    assert [("unread_code", False)] == why(use(device={"reference": "Device/d"}))


def test_a_device_of_a_patient_is_there_when_it_is_told() -> None:
    assert [("implanted", TOLD_MS, TOLD_MS)] == events(PUMP | {"patient": P})
    assert [("no_time", True)] == why(PUMP | {"patient": P}, timestamp=None)
    assert [("unread_code", False)] == why(PUMP | {"patient": P, "type": {"text": "infusion pump"}})
    assert [("unread_status", False)] == why(PUMP | {"patient": P, "status": "inactive"})


def procedure(code: str, system: str = CPT, **more) -> dict:
    whole = {
        "resourceType": "Procedure", "id": "x", "status": "completed", "code": concept(code, system), "subject": P,
        "performedDateTime": AT,
    }  # fmt: skip
    return whole | more


@pytest.mark.parametrize(
    ("code", "kinds"),
    [
        ("62362", ["surgery", "implanted"]), ("62365", ["explanted"]), ("62367", ["interrogated"]),
        ("62370", ["refilled", "reprogrammed"]), ("95991", ["refilled"]),
    ],
)  # fmt: skip
def test_a_procedure_on_a_pump_is_a_pump_event(code: str, kinds: list[str]) -> None:
    assert [(kind, AT_MS, TOLD_MS) for kind in kinds] == events(procedure(code))


def test_an_mri_is_a_pump_event_and_dialysis_and_surgery_are_treatments() -> None:
    assert [("mri", AT_MS, TOLD_MS)] == events(procedure("113091000", SNOMED))
    period = {"performedDateTime": None, "performedPeriod": {"start": AT, "end": LATER}}
    (started, stopped) = said(procedure("302497006", SNOMED, **period)).events
    assert isinstance(started, Context)
    assert [("rrt", "started", AT_MS), ("rrt", "stopped", LATER_MS)] == [
        (e.kind, e.event, e.at) for e in (started, stopped) if isinstance(e, Context)
    ]
    assert [("noted", AT_MS, TOLD_MS)] == events(procedure("387713003", SNOMED))


@pytest.mark.parametrize(
    ("more", "reason", "kept"),
    [
        ({"status": "preparation"}, "unread_status", False),
        ({"status": "in-progress"}, "unread_status", False),
        ({"status": "entered-in-error"}, "entered_in_error", True),
        ({"performedDateTime": "2026-03-01"}, "date_only", True),
        ({"performedDateTime": None}, "no_time", True),
    ],
)
def test_a_procedure_that_says_nothing_is_kept_out_with_its_reason(more: dict, reason: str, kept: bool) -> None:
    assert [(reason, kept)] == why(procedure("62362", **more))


def test_a_procedure_that_no_rule_reads_is_counted() -> None:
    assert [("unread_code", False)] == why(procedure("1", "urn:x"))


# -- MedicationAdministration ------------------------------------------------------------------------------------------


def given(text: str, **more) -> dict:
    whole = {
        "resourceType": "MedicationAdministration", "id": "m", "status": "completed", "subject": P,
        "medicationCodeableConcept": {"text": text}, "effectiveDateTime": AT,
    }  # fmt: skip
    return whole | more


def kinds(*resources: dict) -> list[tuple]:
    found = said(*resources)

    assert () == found.unread
    return [(e.kind, e.event, e.at, e.dose) for e in found.events if isinstance(e, Context)]


def test_an_infusion_runs_from_its_start_to_its_end() -> None:
    period = {"effectiveDateTime": None, "effectivePeriod": {"start": AT, "end": LATER}}

    assert [("vasopressor", "started", AT_MS, None), ("vasopressor", "stopped", LATER_MS, None)] == kinds(
        given("Norepinephrine 8 mg in 250 mL", **period)
    )
    running = given("noradrenaline", status="in-progress", effectiveDateTime=None, effectivePeriod={"start": AT})
    assert [("vasopressor", "started", AT_MS, None)] == kinds(running)
    assert [("vasopressor", "given", AT_MS, None)] == kinds(given("phenylephrine 100 ug bolus"))


def test_a_dose_that_ended_is_no_order_that_ended() -> None:
    period = {"effectiveDateTime": None, "effectivePeriod": {"start": AT, "end": LATER}}

    assert [("dopamine_blocker", "given", AT_MS, None)] == kinds(given("Haloperidol 5 mg", **period))


def test_a_drug_is_known_by_name_atc_code_or_the_medication_beside_it() -> None:
    coded = {"coding": [{"system": "http://www.whocc.no/atc", "code": "N01AX10"}]}
    medication = {"resourceType": "Medication", "id": "c", "code": {"text": "Linezolid"}}

    assert [("sedation", "given", AT_MS, None)] == kinds(given("", medicationCodeableConcept=coded))
    by_reference = given(
        "", medicationCodeableConcept=None, medicationReference={"reference": "#c"}, contained=[medication]
    )
    assert [("serotonergic", "given", AT_MS, None)] == kinds(by_reference)
    assert [("unread_code", False)] == why(given("Norepinephrinex"))


def test_oral_baclofen_is_a_treatment_with_its_dose_in_mg() -> None:
    dosage = {"route": concept("26643006", SNOMED), "dose": {"value": 0.02, "code": "g"}}

    assert [("oral_baclofen", "given", AT_MS, 20.0)] == kinds(given("Baclofen", dosage=dosage))
    assert [("oral_baclofen", "given", AT_MS, None)] == kinds(given("Baclofen 10 mg tablet"))


def test_intrathecal_baclofen_says_that_a_pump_is_there() -> None:
    intrathecal = {"dosage": {"route": concept("72607000", SNOMED)}}
    product = {"medicationCodeableConcept": concept("1666613", RXNORM)}

    for one in (given("Baclofen", **intrathecal), given("", **product), given("Gablofen 2000 ug/mL")):
        (event,) = said(one).events
        assert isinstance(event, Pump)
        assert ("implanted", AT_MS, TOLD_MS) == (event.event, event.at, event.available_at)


@pytest.mark.parametrize(
    ("route", "event"),
    [
        (concept("IT", "http://terminology.hl7.org/CodeSystem/v2-0162"), "implanted"),
        (concept("PO", "http://terminology.hl7.org/CodeSystem/v2-0162"), "given"),
        ({"text": "IT"}, "implanted"),
        ({"text": "by SynchroMed pump"}, "implanted"),
        (concept("IT", "urn:oid:1.2.3"), None),  # what a site's own code means is not known
        ({"text": "given by IT staff"}, None),
        ({"text": "via feeding pump"}, None),
    ],
)
def test_a_route_is_known_by_its_word_or_by_the_code_of_hl7(route: dict, event: str | None) -> None:
    decoded = said(given("Baclofen", dosage={"route": route}))

    assert ([event] if event else []) == [one.event for one in decoded.events]
    assert ([] if event else ["unknown_route"]) == [part.reason for part in decoded.unread]


def test_baclofen_by_an_unknown_route_is_refused_and_the_screening_ampoule_says_nothing() -> None:
    assert [("unknown_route", True)] == why(given("Baclofen 10 mg"))
    ampoule = {"coding": [{"system": NDC, "code": "70511-0121-01", "display": "baclofen intrathecal 50 ug/mL"}]}
    assert [("unread_code", False)] == why(given("", medicationCodeableConcept=ampoule))
    assert [("unread_code", False)] == why(given("Gablofen 50 mcg/mL, syringe"))


@pytest.mark.parametrize(
    ("more", "reason", "kept"),
    [
        ({"status": "not-done"}, "unread_status", False),
        ({"status": "on-hold"}, "unread_status", False),
        ({"status": "entered-in-error"}, "entered_in_error", True),
        ({"effectiveDateTime": "2026-03-01"}, "date_only", True),
        ({"effectiveDateTime": None}, "no_time", True),
        ({"effectiveDateTime": None, "effectivePeriod": {"start": LATER, "end": AT}}, "bad_time", True),
    ],
)
def test_a_drug_that_was_not_given_is_kept_out_with_its_reason(more: dict, reason: str, kept: bool) -> None:
    assert [(reason, kept)] == why(given("propofol", **more))
