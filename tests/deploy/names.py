"""Names of metrics: those that the service has, those that rules record, and those that an expression asks for."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.metrics import Metrics
from pipelines.plan_files import plan_from_files
from pipelines.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
OWN = {"up", "ALERTS"}  # Prometheus makes these itself


def rules(file: str) -> list[dict[str, Any]]:
    """Every rule of a file of deploy/prometheus, in order."""
    return [rule for group in yaml.safe_load((PROMETHEUS / file).read_text())["groups"] for rule in group["rules"]]


@cache
def exported() -> frozenset[str]:
    """Every series name of /metrics."""
    names = set()
    for family in Metrics(plan_from_files(), Settings()).registry.collect():
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + end for end in ends}
    return frozenset(names)


@cache
def recorded() -> frozenset[str]:
    return frozenset(rule["record"] for rule in rules("recording.yml"))


def asked(expression: str) -> set[str]:
    """The names in an expression that look like metrics of ours; texts in quotes are none."""
    return set(re.findall(r"itbwatch[_:][\w:]+", re.sub(r'"[^"]*"', "", expression)))
