"""Every row of an item map has a source, and names a code and a unit that the catalogue knows."""

from pathlib import Path

import pytest

from detector.catalogue.signals import build_catalogue
from pipelines.collecting.item_maps import item_map
from pipelines.plan_files import CATALOGUE
from pipelines.yaml_files import read_yaml

MAPS = ("mimic_iii", "mimic_iv", "eicu", "meds", "omop")
CORE = build_catalogue(read_yaml(CATALOGUE / "signals.yaml"), "signals.yaml")


@pytest.mark.parametrize("name", MAPS)
def test_codes_sites_and_units_of_a_map_are_those_of_the_catalogue(name: str) -> None:
    rows = [one for items in item_map(name).observations.values() for one in items]

    assert len(rows) > 30
    for one in rows:
        named = CORE.resolve_code(one.code)
        assert named is not None, one
        assert one.source
        assert one.site is None or one.site in CORE.sites, one
        assert one.unit is None or CORE.signals[named.signal].resolve_unit(one.unit) is not None, one


@pytest.mark.parametrize("name", MAPS)
def test_what_is_left_out_is_not_read_as_well(name: str) -> None:
    read = item_map(name)

    for table, left_out in read.left_out.items():
        assert not {one.item for one in left_out} & {one.item for one in read.observations[table]}
        assert all(one.because for one in left_out)


@pytest.mark.parametrize("name", MAPS)
def test_the_six_signals_of_the_mission_are_in_every_map(name: str) -> None:
    known = {CORE.resolve_code(one.code) for items in item_map(name).observations.values() for one in items}

    assert {"temp", "ck", "plt", "creat", "ast", "alt"} <= {named.signal for named in known if named is not None}


def test_a_laboratory_result_without_a_time_of_filing_is_never_known_when_it_is_drawn() -> None:
    for name, tables in {"mimic_iii": ["labevents"], "meds": ["LOINC"], "omop": ["measurement"]}.items():
        for table in tables:
            labs = [one for one in item_map(name).observations[table] if (named := CORE.resolve_code(one.code)) and CORE.signals[named.signal].is_lab]  # fmt: skip
            assert all(one.delay for one in labs), name


def test_the_vocabulary_of_omop_writes_units_as_the_catalogue_does() -> None:
    written = read_yaml(Path(CATALOGUE).parents[1] / "pipelines" / "datasets" / "omop_vocabulary.yaml")
    spellings = {unit for signal in CORE.signals.values() for unit in signal.units}

    assert {one["unit"] for one in written["units"]} <= spellings
