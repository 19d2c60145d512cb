"""Alerts and recording rules: each fires under its fault and is quiet in health (promtool), tells what to do, and asks only
for what the service has.
"""

import re

import pytest
import yaml

from tests.deploy.names import PROMETHEUS, ROOT, asked, exported, recorded, rules

CASES = ROOT / "tests" / "deploy" / "prometheus"
ALERTS = rules("alerts.yml")
NAMES = [rule["alert"] for rule in ALERTS]
PAGE = (ROOT / "docs" / "operations.md").read_text()
HEADINGS = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
HEARTBEAT = "ItbwatchWatchdog"


@pytest.mark.parametrize("file", sorted(CASES.glob("*.test.yml")), ids=lambda file: file.name)
def test_every_case_of_health_and_fault_ends_as_it_says(promtool, file):
    assert "SUCCESS" in promtool("test", "rules", file)


def test_rules_and_the_example_configuration_are_valid(promtool):
    promtool("check", "rules", PROMETHEUS / "alerts.yml", PROMETHEUS / "recording.yml")
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_seen_to_fire_in_a_case(name):
    cases = [case for file in CASES.glob("*.test.yml") for case in yaml.safe_load(file.read_text())["tests"]]
    faults = [case for case in cases if "health" not in case["name"]]
    seen = [sample["labels"] for case in faults for one in case["promql_expr_test"] for sample in one["exp_samples"]]

    assert any(f'alertname="{name}"' in labels for labels in seen)


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_every_alert_says_how_urgent_it_is_what_happened_and_where_its_runbook_is(rule):
    page, _, anchor = rule["annotations"]["runbook_url"].rpartition("/docs/operations.md#")
    headings = [one.lower() for one in HEADINGS]

    assert {"severity", "audience"} == rule["labels"].keys()
    assert rule["labels"]["severity"] in {"critical", "warning", "none"}
    assert rule["labels"]["audience"] in {"clinical", "operations"}
    assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()
    assert page.startswith("https://")
    assert 1 == headings.count(anchor)


@pytest.mark.parametrize(
    "rule", [*ALERTS, *rules("recording.yml")], ids=lambda rule: rule.get("alert", rule.get("record"))
)
def test_every_name_in_an_expression_is_exported_or_recorded(rule):
    assert set() == asked(rule["expr"]) - exported() - recorded()


def test_a_runbook_exists_for_no_alert_that_is_gone():
    told = [one for one in HEADINGS if one.startswith("Itbwatch")]

    assert sorted(NAMES) == sorted(told)


@pytest.mark.parametrize("word", ["itbwatch_alert_active", "stay=", "patient_id", "$labels.stay"])
def test_no_rule_carries_what_names_a_patient(word):
    assert not [
        path.name for path in PROMETHEUS.glob("*.yml") if re.search(re.escape(word) + r"\b(?!s)", path.read_text())
    ]


# -- who is told ---------------------------------------------------------------------------------------------------------

ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RECEIVER = {
    ("clinical", "critical"): "ward-pager",
    ("clinical", "warning"): "ward",
    ("operations", "critical"): "on-call",
    ("operations", "warning"): "operators",
}


def test_the_example_of_routing_is_valid(amtool):
    assert "SUCCESS" in amtool("check-config", ALERTMANAGER)


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_every_alert_reaches_who_can_do_something(amtool, rule):
    labels = rule["labels"]
    expected = RECEIVER.get((labels["audience"], labels["severity"]), "heartbeat")
    words = [f"{key}={value}" for key, value in {"alertname": rule["alert"], **labels}.items()]

    assert expected == amtool("config", "routes", "test", f"--config.file={ALERTMANAGER}", *words).splitlines()[0]


def test_nothing_holds_back_the_heartbeat_or_what_patients_need():
    clinical = {rule["alert"] for rule in ALERTS if rule["labels"]["audience"] == "clinical"}
    held = " ".join(
        " ".join(one["target_matchers"]) for one in yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]
    )

    assert not [name for name in {*clinical, HEARTBEAT} if name in held]
