"""The dashboards: as they are built, only of metrics that exist, in a shape that Grafana takes."""

import json
import re

import pytest
import yaml

from deploy.grafana.build import dashboards
from deploy.grafana.panels import CLINICAL, OPERATIONS
from tests.deploy.names import ROOT, asked, exported, recorded

GRAFANA = ROOT / "deploy" / "grafana"
PANELS = [panel for row in (*CLINICAL, *OPERATIONS) for panel in row.panels]
SHOWN = {
    "clinical.json": [
        "Active alerts by unit and severity", "Time to acknowledgement", "Alerts of withdrawal in 28 days", "Lead",
        "Delay of readings", "Rule mix", "Silent patients",
    ],
    "operations.json": [
        "Observations", "Lag", "Detection", "Commit", "Rejected", "Dead letters", "Canary", "Store", "Kept out", "Drift",
        "Processor", "Memory",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_a_committed_dashboard_is_what_the_builder_writes(name):
    assert dashboards()[name] == (GRAFANA / name).read_text(), "run: python -m deploy.grafana.build"


@pytest.mark.parametrize("name", SHOWN)
def test_a_dashboard_shows_what_it_is_for(name):
    titles = [panel["title"] for panel in json.loads((GRAFANA / name).read_text())["panels"]]

    assert [] == [title for title in SHOWN[name] if title not in titles]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_says_what_it_shows_and_asks_only_for_metrics_that_exist(panel):
    assert panel.says.endswith(".")
    for expression, _ in panel.queries:
        assert asked(expression) or "ALERTS" in expression or "up{" in expression
        assert set() == asked(expression) - exported() - recorded()


@pytest.mark.parametrize("name", SHOWN)
def test_no_two_panels_share_a_number_or_a_place_and_none_names_a_patient(name):
    text = (GRAFANA / name).read_text()
    panels = json.loads(text)["panels"]
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(panels) == len({panel["id"] for panel in panels})
    assert len(taken) == len(set(taken))
    assert 24 > max(x for x, _ in taken)
    assert not re.search(r"itbwatch_alert_active\b|\{\{stay\}\}|\bstay=", text)


def test_what_is_provisioned_is_what_the_panels_ask():
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/itbwatch.yaml").read_text())["providers"]
    variables = {one["name"]: one for one in json.loads(dashboards()["clinical.json"])["templating"]["list"]}

    assert source["type"] == variables["datasource"]["query"] == "prometheus"
    assert ".*" == variables["unit"]["allValue"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
