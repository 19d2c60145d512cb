"""A wrong catalogue: every mistake at once, with its path."""

from copy import deepcopy
from typing import Any

import pytest

from detector.catalogue.signals import Named, build_catalogue
from detector.errors import ConfigError
from pipelines.plan_files import read_catalogue

DATA = read_catalogue()[0]


def errors(change: Any, code_map: dict[str, Named] | None = None) -> list[str]:
    data = deepcopy(DATA)
    change(data)
    with pytest.raises(ConfigError) as caught:
        build_catalogue(data, "signals.yaml", code_map)
    return list(caught.value.problems)


def put(signal: str, **keys: Any) -> Any:
    return lambda data: data["signals"][signal].update(keys)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda data: data.update(signals=[]), "signals.yaml $.signals: expected a mapping of signal name to its entry"),
        (put("ck", kind="labb"), "signals.yaml $.signals.ck.kind: 'labb'"),
        (put("ck", name=None), "signals.yaml $.signals.ck.name: None"),
        (put("ck", unit="U/l"), "$.signals.ck.unit: 'U/l' is not among this signal's units; did you mean 'U/L'?"),
        (put("temp", codes=[{"code": "1-1", "site": "rectum", "source": "s"}]), "site 'rectum' is not a site; did you mean 'rectal'?"),
        (put("ast", codes=[{"code": "2157-6", "source": "s"}]), "$.signals.ast.codes: code '2157-6' already names 'ck'"),
        (put("ast", aliases=["cpk"]), "$.signals.ast.aliases: 'cpk' already names 'ck'"),
        (lambda data: data["signals"]["uop"]["units"][-1].update(redirect="urin_volume"), "redirect 'urin_volume' is not a signal; did you mean 'urine_volume'?"),
        (lambda data: data["signals"]["ck"]["units"][0].update(spellings=["ukat/L"]), "'ukat/L' is written for two units"),
        (lambda data: data["signals"]["ck"]["units"][0].update(spellings=["UKAT/L"]), "'ukat/L' reads like another unit when case is ignored"),
        (lambda data: data["signals"]["ck"]["units"][0].update(factor="1/0"), "'1/0' is not a number or a fraction like '5/9'"),
        (put("ck", plausible={"low": 5, "high": 5, "source": "s"}), "$.signals.ck.plausible: low must lie below high"),
        (put("ck", precision=0), "$.signals.ck.precision: 0"),
        (put("ck", stale_after="24h"), "$.signals.ck.stale_after: '24h'"),
        (put("temp", jump={"delta": 2, "within": "5M", "source": "s"}), "$.signals.temp.jump.within: '5M'"),
        (lambda data: data.update(future_limit=90), "$.future_limit: '90'"),
        (lambda data: data.update(retention={}), "$.retention.vital_raw: 'None'"),
        (lambda data: data["sites"]["rectal"].update(confirms="maybe"), "$.sites.rectal.confirms: 'maybe'"),
    ],
)  # fmt: skip
def test_a_catalogue_that_is_wrong_is_refused_with_the_path(change: Any, line: str) -> None:
    lines = errors(change)

    assert any(line in one for one in lines), lines
    assert all(one.startswith("signals.yaml $.") for one in lines)


def test_a_local_code_must_name_a_signal() -> None:
    lines = errors(lambda data: None, {"X1": Named("creatinin", None)})

    assert [
        "config.yaml $.code_map.X1.signal: 'creatinin' is not a signal; expected one of signals.yaml; did you mean 'creat'?"
    ] == lines


@pytest.mark.parametrize("name", ["temp", "Temp", "8310-5"])
def test_a_local_code_may_not_give_a_name_of_the_catalogue_another_meaning(name: str) -> None:
    [line] = errors(lambda data: None, {name: Named("hr", None)})

    assert f"config.yaml $.code_map.{name}: names 'temp' in the catalogue already" in line


def test_every_mistake_comes_at_once() -> None:
    def change(data: dict[str, Any]) -> None:
        put("ck", precision=0)(data)
        put("ast", stale_after="x")(data)
        data["future_limit"] = "y"

    assert 3 == len(errors(change))
