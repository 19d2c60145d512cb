"""Guards cap a rule that is loud without a withdrawal axis, and step aside when one speaks (guards.yaml)."""

from typing import Any

import pytest

from detector.examples import run_examples
from pipelines.plan_files import plan_from_files

PLAN = plan_from_files()

SEPTIC = ["-0:30 temp 39.2", "0:00 temp 39.3", "0:00 hr 132", "0:00 sbp 168"]
"""Hyperthermia, a fast heart and a high pressure: R-06 by its pressure axis alone."""

AFTER_AN_OPERATION = ["-49:00 context surgery noted", "-40:00 ck 1500", "-30:00 ck 6000", "-12:00 ck 3500"]

GUARDS: list[tuple[str, str, list[str], dict[str, str]]] = [
    ("G-10", "fever and unstable pressure warn while nothing explains them", SEPTIC, {"0:00": "itb_withdrawal warning"}),
    ("G-10", "a positive culture explains them", ["-5:00 context positive_culture noted", *SEPTIC], {"0:00": "itb_withdrawal watch"}),
    ("G-10", "a focus on an image explains them", ["-5:00 context imaging_focus noted", *SEPTIC], {"0:00": "itb_withdrawal watch"}),
    ("G-10", "an operation explains them", ["-20:00 context surgery noted", *SEPTIC], {"0:00": "itb_withdrawal watch"}),
    ("G-10", "a culture of four days ago explains nothing any more", ["-96:00 context positive_culture noted", *SEPTIC], {"0:00": "itb_withdrawal warning"}),
    ("G-10", "raised tone speaks against the culture", ["-5:00 context positive_culture noted", "-1:00 context spasticity noted", *SEPTIC], {"0:00": "itb_withdrawal warning"}),
    ("G-10", "a CK of 1,000 speaks against the culture", ["-5:00 context positive_culture noted", "-1:00 ck 1100", *SEPTIC], {"0:00": "itb_withdrawal warning"}),
    ("G-10", "a pump alarm speaks against the culture", ["-5:00 context positive_culture noted", "-1:00 pump alarm level=critical", *SEPTIC], {"0:00": "itb_withdrawal critical"}),
    ("G-10", "a seizure explains them while CK is known to be low", ["-5:00 context seizure noted", "-4:00 ck 300", *SEPTIC], {"0:00": "R-06 true, itb_withdrawal watch"}),
    ("G-10", "a seizure explains nothing while CK is not known: withdrawal makes seizures", ["-5:00 context seizure noted", *SEPTIC], {"0:00": "itb_withdrawal warning"}),
    ("G-8", "a CK that falls again after an operation is a watch even when the operation is two days old", AFTER_AN_OPERATION, {"0:00": "W-05 true, itb_withdrawal watch"}),
    ("G-8", "a CK that falls without a known injury warns", AFTER_AN_OPERATION[1:], {"0:00": "W-05 true, itb_withdrawal warning"}),
    ("G-8", "a CK that grows again warns", [*AFTER_AN_OPERATION, "-1:00 ck 5200"], {"0:00": "W-05 true, itb_withdrawal warning"}),
    ("G-9", "a CK that doubles fast after a fall is a watch", ["-40:00 context fall noted", "-20:00 ck 800", "0:00 ck 2500"], {"0:00": "R-07 true, itb_withdrawal watch"}),
    ("G-9", "with raised tone it warns", ["-40:00 context fall noted", "-20:00 ck 800", "-1:00 context spasticity noted", "0:00 ck 2500"], {"0:00": "R-07 true, itb_withdrawal warning"}),
    ("G-9", "with fever it warns", ["-40:00 context fall noted", "-20:00 ck 800", "-1:00 temp 38.6", "-0:30 temp 38.6", "0:00 ck 2500"], {"0:00": "R-07 true, itb_withdrawal warning"}),
    ("G-9", "without a known injury it warns", ["-20:00 ck 800", "0:00 ck 2500"], {"0:00": "R-07 true, itb_withdrawal warning"}),
    ("G-9", "kidney injury with a CK that a fall explains is a watch", ["-30:00 creat 0.8", "-40:00 context fall noted", "-20:00 ck 2500", "0:00 ck 2500", "0:00 creat 1.4"], {"0:00": "R-11 true, itb_withdrawal watch"}),
    ("G-7", "shock behind septic fever is no critical alert", [*SEPTIC, "1:00 map 60", "1:10 map 58"], {"1:10": "C-15 true, itb_withdrawal warning"}),
    ("G-7", "shock behind hyperthermia with raised tone is one", ["-1:00 context spasticity noted", *SEPTIC, "1:00 map 60", "1:10 map 58"], {"1:10": "C-15 true, itb_withdrawal critical"}),
    ("G-7", "shock behind a CK that an operation explains is none", ["-30:00 context surgery noted", "-10:00 ck 2000", "-3:00 sbp 110", "0:00 sbp 171", "6:00 map 55", "6:10 map 54"], {"6:10": "itb_withdrawal watch"}),
]  # fmt: skip


@pytest.mark.parametrize(("guard", "name", "given", "expect"), GUARDS, ids=[f"{g} {name}" for g, name, _, _ in GUARDS])
def test_guard(guard: str, name: str, given: list[str], expect: dict[str, Any]) -> None:
    patient = {"baseline": {"sbp": 110}} if guard == "G-7" else {}

    assert [] == run_examples(PLAN, "R-06", [{"name": name, "patient": patient, "given": given, "expect": expect}])
