"""How fast records become events, beside the plain library on the same bytes in the same run.

    .venv/bin/python benchmarks/formats.py [SECONDS]

A panel of twelve results is one HL7 v2 message, one FHIR Bundle, or twelve canonical records. Each decoder and its plain
library take turns for SECONDS (default 2) of processor time each; the figure is the best of five rounds, because what
disturbs only slows. The plain libraries parse (and fhir.resources validates); they make no events.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from time import process_time
from zoneinfo import ZoneInfo

import hl7
import msgspec
from fhir.resources.R4B.bundle import Bundle

from pipelines.formats import Site, canonical, decoder
from pipelines.plan_files import plan_from_files

ROUNDS = 5
PAIRS = (
    ("canonical", "json"), ("fhir", "json of the Bundle"), ("fhir", "msgspec"), ("fhir", "fhir.resources"), ("hl7v2", "hl7"),
)  # fmt: skip
CODES = {
    "2157-6": ("5250", "U/L"), "777-3": ("45", "10*9/L"), "2160-0": ("2.1", "mg/dL"), "1920-8": ("310", "U/L"),
    "1742-6": ("120", "U/L"), "6301-6": ("1.9", "{INR}"), "6690-2": ("14.2", "10*3/uL"), "2823-3": ("5.1", "mmol/L"),
    "1963-8": ("18", "mmol/L"), "1975-2": ("1.1", "mg/dL"), "2524-7": ("4.2", "mmol/L"), "13969-1": ("9", "ng/mL"),
}  # fmt: skip
DRAWN, FILED = "2030-01-07T03:00:00+00:00", "2030-01-07T03:50:00+00:00"


def hl7v2_message() -> bytes:
    lines = [
        "MSH|^~\\&|LAB|HOSP|ITB|ICU|20300107035000+0000||ORU^R01^ORU_R01|M1|P|2.5.1|||||||UNICODE UTF-8",
        "PID|1||SYN-0009^^^HOSP^MR||DOE^JOHN||19700101|M",
        "PV1|1|I|ICU^12^1^HOSP|||||||||||||||||V1^^^HOSP",
        "OBR|1|P1^HIS|F1^LAB|24323-8^Panel^LN|||20300107030000+0000|||||||||||||||20300107035000+0000|||F",
    ]
    lines += [
        f"OBX|{number}|NM|{code}^Result^LN^L{number}^Result^L||{value}|{unit}^^UCUM|0-235|H|||F|||20300107030000+0000"
        for number, (code, (value, unit)) in enumerate(CODES.items(), 1)
    ]
    return "".join(line + "\r" for line in lines).encode()


def fhir_bundle() -> bytes:
    def observation(code: str, value: str, unit: str) -> dict[str, object]:
        return {
            "resourceType": "Observation", "id": f"F1-{code}", "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": "Result"},
            "subject": {"reference": "Patient/SYN-0009"}, "encounter": {"reference": "Encounter/V1"},
            "effectiveDateTime": DRAWN, "issued": FILED,
            "valueQuantity": {"value": float(value), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
            "referenceRange": [{"high": {"value": 235, "unit": unit}}],
        }  # fmt: skip

    entries = [{"fullUrl": f"urn:x:{code}", "resource": observation(code, *said)} for code, said in CODES.items()]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def canonical_records() -> list[bytes]:
    return [
        json.dumps({
            "type": "observation", "patient_id": "SYN-0009", "stay_id": "V1", "code": code, "value": float(value),
            "unit": unit, "effective_at": DRAWN, "available_at": FILED, "reference_high": 235,
            "observation_id": f"F1|{code}|",
        }).encode()
        for code, (value, unit) in CODES.items()
    ]  # fmt: skip


def rate(work: Callable[[], object], seconds: float) -> float:
    """Panels a second of processor time: what else runs on the machine disturbs it least."""
    done, began = 0, process_time()
    while (passed := process_time() - began) < seconds or not done:
        work()
        done += 1
    return done / passed


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    site = Site(plan_from_files().catalogue, (), ZoneInfo("UTC"), 1 << 20, 32)
    decode = {name: decoder(name, site) for name in ("fhir", "hl7v2")}
    message, bundle, records = hl7v2_message(), fhir_bundle(), canonical_records()
    text = message.decode()
    work: dict[str, Callable[[], object]] = {
        "canonical": lambda: [canonical.decode(one) for one in records],
        "json": lambda: [json.loads(one) for one in records],
        "fhir": lambda: decode["fhir"](bundle),
        "msgspec": lambda: msgspec.json.decode(bundle),
        "json of the Bundle": lambda: json.loads(bundle),
        "fhir.resources": lambda: Bundle.model_validate_json(bundle),
        "hl7v2": lambda: decode["hl7v2"](message),
        "hl7": lambda: hl7.parse(text),
    }
    for name, raw in (("fhir", bundle), ("hl7v2", message)):
        decoded = decode[name](raw)
        assert len(CODES) == len(decoded.events), decoded.unread
        assert not decoded.unread
    best = dict.fromkeys(work, 0.0)
    for _ in range(ROUNDS):
        for name, one in work.items():
            best[name] = max(best[name], rate(one, seconds / ROUNDS))
    for ours, theirs in PAIRS:
        print(
            f"{ours:10} {best[ours]:9,.0f} panels/s {best[ours] * len(CODES):10,.0f} results/s;"
            f" {theirs} {best[theirs]:9,.0f} panels/s: {best[ours] / best[theirs]:.2f} times"
        )


if __name__ == "__main__":
    main()
