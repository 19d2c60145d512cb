"""HL7 v2 messages for tests, and a decoder as a site has it."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from detector.catalogue.signals import Named, build_catalogue
from detector.clock import to_datetime
from detector.events import Encounter, Observation, PatientEvent
from pipelines.formats import Decode, Site, decoder
from pipelines.formats.canonical import encode
from pipelines.plan_files import CATALOGUE, read_catalogue
from pipelines.settings import Hl7v2

DRAWN = "20260301080500+0100"
DRAWN_MS = 1_772_348_700_000
FILED = "20260301090100+0100"
FILED_MS = DRAWN_MS + 56 * 60_000
PID = "PID|1||p^^^HOSP^MR||DOE^JOHN||19700301|M"


def hl7v2(code_map: Mapping[str, Named] | None = None, *, timezone: str = "UTC", **rules: Any) -> Decode:
    own = dict(code_map or {})
    catalogue = build_catalogue(_signals(), "signals.yaml", own)
    return decoder("hl7v2", Site(catalogue, own.keys(), ZoneInfo(timezone), 1 << 20, 32, Hl7v2(**rules)))


@cache
def _signals() -> Any:
    return read_catalogue(CATALOGUE)[0]


def fields(name: str, **numbered: str) -> str:
    """A segment by the numbers of its fields: ``fields("OBX", f5="1")``."""
    by_number = {int(key[1:]): text for key, text in numbered.items()}
    return "|".join([name, *(by_number.get(number, "") for number in range(1, max(by_number) + 1))])


def msh(kind: str = "ORU^R01", **more: str) -> str:
    whole = {"f2": "^~\\&", "f3": "LAB", "f7": FILED, "f9": kind, "f10": "1", "f11": "P", "f12": "2.5.1"} | more
    return fields("MSH", **{f"f{int(key[1:]) - 1}": text for key, text in whole.items()})


def obr(**more: str) -> str:
    return fields("OBR", **({"f1": "1", "f3": "F1^LAB", "f4": "24323-8^Panel^LN", "f7": DRAWN, "f22": FILED} | more))


def obx(**more: str) -> str:
    """A creatine kinase of 5,250 U/L, unless it is said otherwise."""
    whole = {"f1": "1", "f2": "NM", "f3": "2157-6^CK^LN", "f5": "5250", "f6": "U/L", "f11": "F", "f14": DRAWN}
    return fields("OBX", **(whole | more))


def pv1(**more: str) -> str:
    return fields("PV1", **({"f1": "1", "f2": "I", "f3": "ICU^12^2^HOSP", "f19": "V1^^^HOSP"} | more))


PV1 = pv1()


def message(*segments: str, end: str = "\r") -> bytes:
    return "".join(segment + end for segment in segments).encode()


def oru(*results: str, order: str | None = None) -> bytes:
    return message(msh(), PID, PV1, order or obr(), *results)


def adt(trigger: str, *more: str, visit: str = PV1, event: str = "EVN|{}|20260301080600+0100") -> bytes:
    return message(msh(f"ADT^{trigger}"), event.format(trigger), PID, visit, *more)


# -- courses -----------------------------------------------------------------------------------------------------------

TRIGGERS = {"admitted": "A01", "discharged": "A03"}
SEXES = {"female": "F", "male": "M", None: ""}
NAMES = ("temp", "hr", "rr", "spo2", "sbp", "dbp", "gcs", "ck", "ckmb", "creat", "ast", "alt", "bili", "plt", "wbc", "inr",
         "pt", "k", "hco3")  # fmt: skip
"""Signals that the course calls by the catalogue's name: a code of the site in HL7 v2."""


def time(at: int) -> str:
    return to_datetime(at).strftime("%Y%m%d%H%M%S.%f")[:-3] + "+0000"


def rendered(event: PatientEvent) -> bytes:
    """A line as an interface engine would write it; what HL7 v2 has no place for stays canonical."""
    if isinstance(event, Observation):
        loinc = re.fullmatch(r"\d+-\d", event.code)
        limit = "" if event.reference_high is None else f"0-{event.reference_high}"
        result = fields(
            "OBX", f1="1", f2="ST" if event.value is None else "NM", f3=f"{event.code}^^{'LN' if loinc else 'SITE'}",
            f5=event.value_text or str(event.value), f6=event.unit or "", f7=limit, f11="F", f14=time(event.effective_at),
        )  # fmt: skip
        order = fields("OBR", f1="1", f4="PANEL", f22=time(event.available_at))
        visit = fields("PV1", f1="1", f2="I", f19=event.stay_id or "")
        return message(msh(f3=event.source or ""), f"PID|1||{event.patient_id}^^^H^MR", visit, order, result)
    if isinstance(event, Encounter):
        born = "" if event.age_years is None else f"{to_datetime(event.at).year - int(event.age_years)}0101"
        person = fields("PID", f3=f"{event.patient_id}^^^H^MR", f7=born, f8=SEXES[event.sex])
        visit = fields("PV1", f2="I", f3=event.unit or "", f19=event.stay_id)
        kind = TRIGGERS[event.event]
        return message(msh(f"ADT^{kind}", f7=time(event.available_at)), f"EVN|{kind}|{time(event.at)}", person, visit)
    return encode(event)
