"""Writes clinical.json and operations.json, from the root of the repository: ``python -m deploy.grafana.build``.

Grafana has twenty-four columns; the panels of a row share them.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, VizOrientation
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableHide, VariableRefresh

from deploy.grafana.panels import CLINICAL, OPERATIONS, Panel, Row

HERE = Path(__file__).parent
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH, NUMBER_HEIGHT, HEIGHT = 24, 5, 8


def _query(expression: str, legend: str, ref: str, *, now: bool) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref).datasource(SOURCE)
    return query.instant() if now else query.range()


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel | bargauge.Panel:
    last = ReduceDataOptions().calcs(["lastNotNull"])
    built: stat.Panel | timeseries.Panel | bargauge.Panel
    if panel.kind == "number":
        built = stat.Panel().graph_mode(BigValueGraphMode.NONE).reduce_options(last)
    elif panel.kind == "bars":
        built = bargauge.Panel().orientation(VizOrientation.HORIZONTAL).reduce_options(last)
    else:
        built = timeseries.Panel()
    built = built.title(panel.title).description(panel.says).unit(panel.unit).datasource(SOURCE)
    for (expression, legend), ref in zip(panel.queries, "ABCDEFGH", strict=False):
        built = built.with_target(_query(expression, legend, ref, now=panel.kind != "lines"))
    return built


def build(title: str, uid: str, says: str, rows: tuple[Row, ...], *, units: bool) -> str:
    """A dashboard as JSON; ``units`` = it is asked for wards."""
    made = (
        dashboard.Dashboard(title).uid(uid).description(says).tags(["itbwatch"]).refresh("30s").time("now-24h", "now")
    )
    made = made.readonly().with_variable(
        dashboard.DatasourceVariable("datasource").type("prometheus").label("Source").hide(VariableHide.DONT_HIDE)
    )
    if units:
        made = made.with_variable(
            dashboard.QueryVariable("unit").label("Unit").datasource(SOURCE)
            .query("label_values(itbwatch_stays_monitored, unit)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*")
        )  # fmt: skip
    ids = count(1)
    for row in rows:
        made = made.with_row(dashboard.Row(row.title).id(next(ids)))
        height = NUMBER_HEIGHT if row.title == "Now" else HEIGHT
        for panel in row.panels:
            made = made.with_panel(_panel(panel).id(next(ids)).span(WIDTH // len(row.panels)).height(height))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def dashboards() -> dict[str, str]:
    """Every file and what stands in it."""
    clinical = "Alerts, answers, burden and delay by ward. Information for quality work; no patient is named here."
    operations = "Whether the service reads, decides, stores and publishes, and what it costs."
    return {
        "clinical.json": build("itbwatch: clinical", "itbwatch-clinical", clinical, CLINICAL, units=True),
        "operations.json": build("itbwatch: operations", "itbwatch-operations", operations, OPERATIONS, units=False),
    }


if __name__ == "__main__":
    for name, text in dashboards().items():
        (HERE / name).write_text(text)
