"""The workload: patients with a vital sign of each kind once a minute and a laboratory value now and then, on the topics."""

from __future__ import annotations

import json
import math
from contextlib import closing

from kafka import KafkaProducer

from detector.clock import HOUR, MINUTE, rfc3339

START = 1_900_022_400_000
VITALS: dict[str, tuple[str, float, float]] = {
    "hr": ("/min", 82, 4), "sbp": ("mm[Hg]", 122, 5), "dbp": ("mm[Hg]", 64, 3), "map": ("mm[Hg]", 82, 4),
    "rr": ("/min", 16, 2), "spo2": ("%", 97, 1), "temp": ("Cel", 36.9, 0.1), "gcs": ("{score}", 15, 0),
}  # fmt: skip
"""Code: unit, middle and spread of a quiet patient. Numbers of a benchmark, not of medicine."""
LATE = 50
"""One of so many comes two hours late."""
LABORATORY = 240
"""Minutes between two creatinine values of a patient."""


def vital(middle: float, spread: float, turn: int) -> float:
    """A quiet course that is never the same twice in a row."""
    return round(middle + spread * math.sin(turn * 2.4), 1)


def fill(bootstrap: str, prefix: str, patients: int, minutes: int, gated: float, partitions: int) -> int:
    """Write it, admissions first; the number of observations."""
    told = 0
    with closing(KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50, batch_size=1 << 18)) as producer:

        def say(topic: str, number: int, stamp: int, **says: object) -> None:
            patient = f"p-{number}"
            record = {"type": topic.removesuffix("s"), "patient_id": patient, **says}
            value = json.dumps(record).encode()
            producer.send(prefix + topic, value, patient.encode(), partition=number % partitions, timestamp_ms=stamp)

        for number in range(patients):
            begun = rfc3339(START - HOUR)
            say("encounters", number, START - HOUR, at=begun, stay_id=f"s-{number}", event="admitted", unit="MICU")
            if number < gated * patients:
                say("pumps", number, START - HOUR, event="implanted", at=begun)
        for minute in range(minutes):
            at = START + minute * MINUTE
            for number in range(patients):
                for code, (unit, middle, spread) in VITALS.items():
                    effective = at - 2 * HOUR if (told + number) % LATE == 0 else at
                    value = vital(middle, spread, minute + number)
                    say("observations", number, at, code=code, value=value, unit=unit, effective_at=rfc3339(effective))
                    told += 1
                if (minute + number) % LABORATORY == 0:
                    say("observations", number, at, code="creat", value=0.8, unit="mg/dL", effective_at=rfc3339(at))
                    told += 1
    return told
