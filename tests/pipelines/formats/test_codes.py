"""Which of several codes says what a result is."""

from zoneinfo import ZoneInfo

import pytest

from detector.catalogue.signals import Named
from detector.errors import InputError
from pipelines.formats import Site
from pipelines.formats.codes import Codes
from pipelines.plan_files import plan_from_files

LOCAL = "http://hospital.example/lab"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"


@pytest.fixture(scope="module")
def codes() -> Codes:
    code_map = {"LAB1": Named("ck", None), f"{LOCAL}|LAB2": Named("plt", None), "LAB3": Named("creat", None)}
    catalogue = plan_from_files(code_map=code_map).catalogue
    return Codes(Site(catalogue, code_map.keys(), ZoneInfo("UTC"), 1 << 20, 32))


@pytest.mark.parametrize("system", [LOINC, "urn:oid:2.16.840.1.113883.6.1", "LN"])
def test_a_loinc_code_is_known_by_every_usual_name_of_its_system(codes: Codes, system: str) -> None:
    assert "2157-6" == codes.choose(((system, "2157-6"),))


def test_loinc_is_preferred_to_what_a_site_calls_it(codes: Codes) -> None:
    assert "2160-0" == codes.choose(((LOCAL, "LAB1"), (LOINC, "2160-0")))


def test_a_local_code_counts_alone_or_with_its_system_as_the_site_wrote_it(codes: Codes) -> None:
    assert "LAB1" == codes.choose(((LOCAL, "LAB1"),))
    assert f"{LOCAL}|LAB2" == codes.choose(((LOCAL, "LAB2"),))
    assert "http://other.example|LAB2" == codes.choose((("http://other.example", "LAB2"),))


def test_a_local_code_that_spells_like_an_alias_is_unknown(codes: Codes) -> None:
    for system in (LOCAL, None, LOINC, "L"):
        assert codes._catalogue.resolve_code(codes.choose(((system, "PT"),))) is None
    assert codes._catalogue.resolve_code("PT") is not None


def test_a_local_code_that_looks_like_one_of_a_standard_is_unknown(codes: Codes) -> None:
    assert codes._catalogue.resolve_code(codes.choose(((LOCAL, "2157-6"),))) is None
    assert codes._catalogue.resolve_code(codes.choose(((None, "276885007"),))) is None


def test_of_unknown_codes_the_loinc_one_is_told(codes: Codes) -> None:
    assert "29463-7" == codes.choose(((LOCAL, "W"), (LOINC, "29463-7")))


def test_of_several_temperatures_the_narrowest_site_counts(codes: Codes) -> None:
    assert "8328-7" == codes.choose(((LOINC, "8310-5"), (LOINC, "8329-5"), (LOINC, "8328-7")))
    assert "276885007" == codes.choose(((LOINC, "8310-5"), (SNOMED, "276885007")))
    assert "8310-5" == codes.choose(((LOINC, "8310-5"),))


def test_two_sites_that_exclude_each_other_are_none(codes: Codes) -> None:
    named = codes._catalogue.resolve_code(codes.choose(((LOINC, "8331-1"), (LOINC, "8328-7"))))

    assert Named("temp", "unknown") == named


def test_two_signals_of_one_rank_are_ambiguous(codes: Codes) -> None:
    with pytest.raises(InputError) as refused:
        codes.choose(((LOINC, "2157-6"), (LOINC, "2160-0")))

    assert "ambiguous_code" == refused.value.reason


def test_no_code_at_all_is_a_missing_key(codes: Codes) -> None:
    with pytest.raises(InputError) as refused:
        codes.choose(((LOINC, None), (None, "")))

    assert "missing_key" == refused.value.reason
