"""Every factor of the catalogue against UCUM, read by ucumvert and by pint, which passes UCUM's own functional tests first."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pint
import pytest
from ucumvert import PintUcumRegistry

from detector.catalogue.signals import Catalogue, Signal, Unit
from pipelines.plan_files import plan_from_files

CATALOGUE: Catalogue = plan_from_files().catalogue
ROUNDED = 1e-5  # the catalogue has 7.5006 mmHg a kPa, UCUM 7.50062

UCUM_READS_ANOTHER_QUANTITY = {
    "K/uL": "kelvin: thousands here",
    "K/mm3": "kelvin: thousands here",
    "TH/uL": "tesla henry: thousands here",
    "G/L": "gauss: giga, 10*9, here",
    "b/min": "barn: beats here",
    "C": "coulomb: Celsius here",
    "deg.C": "degree coulomb: Celsius here",
    "F": "farad: Fahrenheit here",
    "deg.F": "degree farad: Fahrenheit here",
    "mg%": "milligram percent: mg/dL here",
    "[iU]/L": "an arbitrary unit that UCUM converts to nothing: U/L here, as enzymes have it",
}
"""Spellings that feeds write and that mean something else in UCUM, where the signal leaves no doubt."""

MOLAR_MASS = {"creat": 113.12, "bili": 584.66, "lactate": 90.08}
"""g/mol (PubChem: creatinine 588, bilirubin 5280352, lactic acid 612)."""

PLAIN = {
    ("sbp", "kPa"): ("kPa", "mmHg"),
    ("ck", "ukat/L"): ("ukat/L", "enzyme_unit/L"),
    ("ck", "nkat/L"): ("nkat/L", "enzyme_unit/L"),
    ("plt", "10*9/L"): ("1e9/L", "1e3/microliter"),
    ("plt", "/uL"): ("1/microliter", "1e3/microliter"),
    ("fibrinogen", "g/L"): ("g/L", "mg/dL"),
    ("creat", "mg/L"): ("mg/L", "mg/dL"),
    ("ddimer", "ug{FEU}/mL"): ("ug/mL", "ng/mL"),
    ("ddimer", "mg{FEU}/L"): ("mg/L", "ng/mL"),
    ("uop", "mL/d"): ("mL/day", "mL/hour"),
    ("uop", "mL/min"): ("mL/min", "mL/hour"),
    ("spo2", "1"): ("1", "percent"),
}
"""Units that are not the signal's own, in pint's own words."""


@pytest.fixture(scope="module")
def ucum() -> Any:
    return PintUcumRegistry()


def cases(shared: Path, file: str, group: str) -> list[dict[str, str]]:
    root = ET.parse(shared / "corpora/ucum" / file).getroot()
    return [case.attrib for case in root.find(group) if case.tag == "case"]


def spelt() -> Iterator[tuple[Signal, str, Unit]]:
    """Every spelling with a factor of its own."""
    for signal in CATALOGUE.signals.values():
        for spelling, unit in signal.units.items():
            if unit.needs is None and unit.redirect is None and spelling:
                yield signal, spelling, unit


def in_ucum(ucum: Any, text: str) -> Any | None:
    """A unit as UCUM reads it; None = it is none. Annotations alone are the number one."""
    try:
        read = ucum.from_ucum(text)
    except Exception:  # noqa: BLE001 - whatever its parser raises
        return None
    return read if isinstance(read, pint.Quantity) else ucum.from_ucum("1")


@pytest.mark.parametrize("file", ["UcumFunctionalTests.xml", "UcumFunctionalTests.2.xml"])
def test_ucumvert_passes_the_functional_tests_of_ucum(shared: Path, ucum: Any, file: str) -> None:
    found = cases(shared, file, "conversion")
    wrong = []
    for case in found:
        ratio = (in_ucum(ucum, case["srcUnit"]) / in_ucum(ucum, case["dstUnit"])).to_base_units()
        digits = len(case["outcome"].lower().partition("e")[0].replace(".", "").lstrip("0"))
        if float(f"{float(case['value']) * ratio.magnitude:.{max(1, digits)}g}") != pytest.approx(
            float(case["outcome"]), rel=1e-4
        ):
            wrong.append(case["id"])
    misread = [
        case["unit"] for case in cases(shared, file, "validation")
        if (in_ucum(ucum, case["unit"]) is not None) != (case["valid"] == "true")
    ]  # fmt: skip

    assert set(wrong) <= {"3-111"}, "its outcome is upside down in one of the two files"
    assert len(found) >= 25
    assert set(misread) <= {"10+3/ul", "", "g.m/{hb}m2"}, "none of them is a unit of ours"


def test_every_unit_that_ucum_knows_has_the_factor_of_ucum(ucum: Any) -> None:
    compared, wrong, another = 0, [], set()
    for signal, spelling, unit in spelt():
        read, own = in_ucum(ucum, spelling), in_ucum(ucum, signal.unit)
        if read is None or (signal.name == "temp" and spelling in ("Cel", "[degF]")):
            continue
        if not read.is_compatible_with(own):
            another.add((signal.name, spelling, unit.unit))
            continue
        compared += 1
        factor = float((read / own).to_base_units().magnitude)
        if unit.offset or unit.factor != pytest.approx(factor, rel=ROUNDED):
            wrong.append((signal.name, spelling, unit.factor, factor))

    assert [] == wrong
    assert compared > 100
    molar = {
        (name, spelling, unit) for name, spelling, unit in another if name in MOLAR_MASS and "mol" in spelling + unit
    }
    molar |= {("lactate", spelling, unit) for name, spelling, unit in another if name == "lactate"}
    assert set(UCUM_READS_ANOTHER_QUANTITY) == {spelling for _, spelling, _ in another - molar}
    assert {("creat", "umol/L", "umol/L"), ("bili", "umol/L", "umol/L"), ("lactate", "mg/dL", "mg/dL")} <= molar


@pytest.mark.parametrize(
    ("name", "unit"), [("creat", "umol/L"), ("creat", "mmol/L"), ("bili", "umol/L"), ("lactate", "mg/dL")]
)
def test_amounts_and_masses_are_converted_by_the_molar_mass(ucum: Any, name: str, unit: str) -> None:
    signal = CATALOGUE.signals[name]
    molar_mass = MOLAR_MASS[name] * ucum.from_ucum("g/mol")
    read, own = in_ucum(ucum, unit), in_ucum(ucum, signal.unit)
    ratio = read * molar_mass / own if name != "lactate" else read / molar_mass / own

    assert signal.units[unit].factor == pytest.approx(float(ratio.to_base_units().magnitude), rel=1e-3)


@pytest.mark.parametrize(("signal", "unit"), PLAIN)
def test_pint_alone_says_the_same(signal: str, unit: str) -> None:
    registry: Any = pint.UnitRegistry()
    theirs, own = (registry.parse_expression(text) for text in PLAIN[signal, unit])

    assert CATALOGUE.signals[signal].units[unit].factor == pytest.approx(
        float((theirs / own).to_base_units().magnitude), rel=ROUNDED
    )


def test_every_unit_that_is_not_the_signals_own_is_compared_somewhere() -> None:
    others = {(signal.name, unit.unit) for signal, _, unit in spelt() if (unit.factor, unit.offset) != (1, 0)}
    same = {("dbp", "kPa"), ("map", "kPa"), ("ast", "ukat/L"), ("ast", "nkat/L"), ("alt", "ukat/L"), ("alt", "nkat/L"),
            ("wbc", "/uL"), ("bili", "mg/L")}  # fmt: skip
    for name, unit in same:
        like = {"dbp": "sbp", "map": "sbp", "ast": "ck", "alt": "ck", "wbc": "plt", "bili": "creat"}[name]
        assert CATALOGUE.signals[name].units[unit].factor == CATALOGUE.signals[like].units[unit].factor
    molar = {("creat", "umol/L"), ("creat", "mmol/L"), ("bili", "umol/L"), ("lactate", "mg/dL")}

    assert others == {*PLAIN, *same, *molar, ("temp", "[degF]")} - {("plt", "10*9/L")}


@pytest.mark.parametrize("celsius", [25.0, 37.0, 38.5, 40.33, 41.67, 45.0])
def test_temperatures_are_converted_as_pint_converts_them(celsius: float) -> None:
    registry: Any = pint.UnitRegistry()
    fahrenheit = registry.Quantity(celsius, registry.degC).to(registry.degF).magnitude
    unit = CATALOGUE.signals["temp"].units["[degF]"]

    assert celsius == pytest.approx(fahrenheit * unit.factor + unit.offset, abs=1e-9)
