"""What drugs, devices and procedures mean, from tables with their sources."""

import doctest

import pytest

from pipelines import terms
from pipelines.terms import baclofen_route, drug_kinds, is_baclofen, is_pump_device, is_trial, pump_events, treatment


def test_the_examples_in_the_docstrings_hold() -> None:
    failed, run = doctest.testmod(terms)

    assert (0, True) == (failed, run >= 4)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("NORepinephrine bitartrate", {"vasopressor"}),
        ("Vasopressin (Pitressin)", {"vasopressor"}),
        ("midazolam 1 mg/mL", {"sedation", "benzodiazepine"}),
        ("Acetaminophen IV", {"antipyretic"}),
        ("Methylene Blue", {"serotonergic"}),
        ("lithium", set()),
        ("desvasopressinoid", set()),
        ("non-propofol", set()),
    ],
)
def test_a_drug_is_known_by_a_whole_word(text: str, kinds: set[str]) -> None:
    assert kinds == {kind.name for kind in drug_kinds([text])}


def test_a_class_of_atc_codes_is_known_by_its_beginning() -> None:
    assert ["neuromuscular_block"] == [kind.name for kind in drug_kinds([], ["M03AC09"])]
    assert [] == list(drug_kinds([], ["N05AN01"])), "lithium is no dopamine blocker"


def test_baclofen_has_two_routes_and_neither_is_guessed() -> None:
    assert "intrathecal" == baclofen_route(["baclofen intrathecal 2000 mcg/mL"]).told
    assert "oral" == baclofen_route(["baclofen"], route_codes=["26643006"]).told
    assert "intrathecal" == baclofen_route(["baclofen"], rxnorm=["1047437"]).told
    assert "intrathecal" == baclofen_route(["baclofen", "SynchroMed II"]).told
    assert baclofen_route(["baclofen"]).told is None
    assert baclofen_route(["baclofen via feeding pump"]).told is None
    assert baclofen_route(["baclofen intrathecal, then by mouth"]).told is None


def test_baclofen_is_known_by_name_and_by_the_codes_of_its_intrathecal_products() -> None:
    assert is_baclofen(["Lioresal"])
    assert is_baclofen([], ["1369783"])
    assert is_baclofen([], ndc=["66794-0157-01"])
    assert not is_baclofen(["bacitracin"], ["1"], ["1-2-3"])
    assert is_trial(["70511-121"])
    assert not is_trial(["66794-157"])
    assert is_trial([], ["baclofen intrathecal 0.05 mg/mL"])
    assert not is_trial([], ["baclofen 250 mcg/mL", "10.05 mg/mL"])


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Prometra II", True),
        ("ITB pump", True),
        ("Infusion pump, implantable, intrathecal", True),
        ("intrathecal catheter", False),
        ("insulin pump", False),
        ("Synchrony", False),
    ],
)
def test_a_pump_is_known_by_its_family_or_its_kind(text: str, is_one: bool) -> None:
    assert is_one == is_pump_device([text])


def test_a_procedure_is_known_by_system_and_code() -> None:
    assert ("explanted",) == pump_events("CPT", "62365")
    assert () == pump_events("SNOMED CT", "62365")
    assert "ventilation" == treatment("SNOMED CT", "40617009")
    assert treatment("CPT", "40617009") is None
