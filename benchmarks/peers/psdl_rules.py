"""psdl-lang: one evaluation of five signals, seven trends and five rules for a patient, after so many readings.

Prints {readings: microseconds of processor time}. The scenario has the shape of ours; its numbers are of a benchmark.
"""

import json
import sys
from datetime import datetime, timedelta
from time import process_time

from psdl.core import parse_scenario
from psdl.runtimes.single.evaluator import InMemoryBackend, SinglePatientEvaluator

SCENARIO = """
psdl_version: "0.5"
scenario: {name: Benchmark, version: "1.0.0", description: "Fever, heart rate, pressure, CK and platelets"}
audit:
  intent: "A benchmark"
  rationale: "A benchmark"
  provenance: {type: guideline, reference: "none"}
signals:
  T: {ref: temperature, expected_unit: Cel}
  HR: {ref: heart_rate, expected_unit: bpm}
  SBP: {ref: systolic, expected_unit: mmHg}
  CK: {ref: creatine_kinase, expected_unit: U/L}
  PLT: {ref: platelets, expected_unit: 10*9/L}
trends:
  t_now: {expr: "last(T)"}
  t_rise: {expr: "delta(T, 6h)"}
  hr_mean: {expr: "sma(HR, 1h)"}
  hr_slope: {expr: "slope(HR, 6h)"}
  sbp_max: {expr: "max(SBP, 4h)"}
  ck_rise: {expr: "delta(CK, 24h)"}
  plt_min: {expr: "min(PLT, 72h)"}
logic:
  fever: {when: "t_now >= 38.5", severity: medium}
  rising: {when: "t_rise > 1.0 AND hr_slope > 0", severity: medium}
  storm: {when: "hr_mean > 120 AND sbp_max > 180", severity: high}
  muscle: {when: "ck_rise > 1000", severity: high}
  both: {when: "fever AND muscle", severity: critical}
"""
START = datetime(2030, 1, 1)
ROUNDS = 400


def measured(readings):
    backend = InMemoryBackend()
    each = max(1, readings // 5)
    for signal, value in (("T", 37.0), ("HR", 82.0), ("SBP", 122.0), ("CK", 90.0), ("PLT", 210.0)):
        for number in range(each):
            backend.add_observation("p", signal, value + number % 3, START + timedelta(minutes=number))
    evaluator = SinglePatientEvaluator(parse_scenario(SCENARIO), backend)
    now = START + timedelta(minutes=each)
    evaluator.evaluate("p", now)
    began = process_time()
    for _ in range(ROUNDS):
        evaluator.evaluate("p", now)
    return 1e6 * (process_time() - began) / ROUNDS


print(json.dumps({number: measured(int(number)) for number in sys.argv[1:]}))
