"""What the two dashboards show: rows of panels, each a title, what it says, a unit of Grafana's, and its queries.

``$unit`` is the choice of wards. No panel reads ``itbwatch_alert_active``: whom an alert is about stands on the board.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["number", "lines", "bars"]


class Panel(NamedTuple):
    """``queries`` are (expression, legend); ``kind`` bars = one bar each, of now."""

    title: str
    says: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: Kind = "lines"


class Row(NamedTuple):
    title: str
    panels: tuple[Panel, ...]


def quantile(q: float, metric: str, by: str = "", span: str = "$__rate_interval") -> str:
    """The quantile of a histogram over a span."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate(itbwatch_{metric}_bucket[{span}])))"


def active(severity: str) -> str:
    return f'sum(itbwatch:alerts_active:by_unit{{severity="{severity}", unit=~"$unit", syndrome!="technical"}})'


CLINICAL = (
    Row("Now", (
        Panel("Critical", "Open alerts that cannot wait.", "short", ((active("critical"), ""),), "number"),
        Panel("Warning", "Open alerts to look at within the shift.", "short", ((active("warning"), ""),), "number"),
        Panel("Unanswered", "Critical and warning alerts that nobody has answered.", "short", (
            ('sum(itbwatch_alerts_unanswered{severity=~"critical|warning", unit=~"$unit"})', ""),), "number"),
        Panel("Silent patients", "Open stays without an observation for 2 h: nothing is known of them.", "short",
              (('sum(itbwatch:stays_silent:by_unit{unit=~"$unit"})', ""),), "number"),
        Panel("Patients with a pump", "Open stays with a pump; of the others withdrawal is not decided.", "short",
              (('sum(itbwatch:pump_stays:by_unit{unit=~"$unit"})', ""),), "number"),
        Panel("Patients watched", "Every open stay.", "short",
              (('sum(itbwatch:stays_monitored:by_unit{unit=~"$unit"})', ""),), "number"),
    )),
    Row("Alerts", (
        Panel("Active alerts by unit and severity", "Withdrawal, overdose, hyperpyrexia, pump queries, data quality.", "short", (
            ('sum by (unit, severity) (itbwatch:alerts_active:by_unit{unit=~"$unit", syndrome!="technical"})',
             "{{unit}} {{severity}}"),)),
        Panel("Opened and raised", "In the hour before each point.", "short", (
            ('topk(10, sum by (syndrome, severity) (increase(itbwatch_alerts_total{unit=~"$unit"}[1h])))',
             "{{syndrome}} {{severity}}"),)),
        Panel("Time to acknowledgement", "From opening to the answer; snoozes are none. Over the time that is shown.", "s", (
            (quantile(0.5, "alert_acknowledgement_seconds", span="$__range"), "half of them"),
            (quantile(0.9, "alert_acknowledgement_seconds", span="$__range"), "nine of ten"))),
        Panel("Rule mix", "Which rules were true most often, of all answers that the rules gave. Over the time that is shown.", "short", (
            ('topk(15, sum by (rule) (increase(itbwatch_rule_evaluations_total{truth="true"}[$__range])))', "{{rule}}"),),
              "bars"),
    )),
    Row("Burden", (
        Panel("Alerts of withdrawal in 28 days", "True and false ones, by unit; the budget is for false ones.", "short", (
            ('itbwatch:alerts:by_unit_28d{unit=~"$unit"}', "{{unit}} {{tier}}"),
            ('itbwatch:alerts_budget:by_unit_28d{unit=~"$unit"}', "{{unit}} {{tier}}: budget"))),
        Panel("Days of patients with a pump", "What the burden is measured against, 28 days.", "short", (
            ('itbwatch:pump_days:by_unit_28d{unit=~"$unit"}', "{{unit}}"),)),
        Panel("Held back", "Verdicts that became no alert, by reason, in the hour before each point.", "short", (
            ("sum by (reason) (increase(itbwatch_alerts_suppressed_total[1h]))", "{{reason}}"),)),
    )),
    Row("Lead and delay", (
        Panel("Lead", "How long an alert was open before it was raised to critical. Over the time that is shown.", "s", (
            (quantile(0.5, "alert_lead_seconds", span="$__range"), "half of them"),)),
        Panel("Delay of readings", "From measurement to record, nine of ten.", "s", (
            (quantile(0.9, "observation_delay_seconds", "signal", "1h"), "{{signal}}"),)),
        Panel("Silent patients by unit", "Open stays without an observation for 2 h.", "short", (
            ('itbwatch:stays_silent:by_unit{unit=~"$unit"}', "{{unit}}"),)),
        Panel("Late readings", "Too late to be used, in the hour before each point.", "short", (
            ("sum by (signal) (increase(itbwatch_late_observations_total[1h]))", "{{signal}}"),)),
    )),
)  # fmt: skip

OPERATIONS = (
    Row("Now", (
        Panel("Workers", "That answer Prometheus.", "short", (('sum(up{job="itbwatch"})', ""),), "number"),
        Panel("Store", "0 = some worker cannot write.", "short", (("min(itbwatch_store_up)", ""),), "number"),
        Panel("Kafka", "0 = some worker reaches no broker.", "short", (("min(itbwatch_kafka_up)", ""),), "number"),
        Panel("Canary", "Age of the oldest round trip.", "s", (("max(itbwatch:canary_age_seconds)", ""),), "number"),
        Panel("Newest record", "Its age.", "s", (("itbwatch:record_age_seconds", ""),), "number"),
        Panel("Alarms", "Firing now; the heartbeat is one of them.", "short", (
            ('count by (alertname) (ALERTS{alertname=~"Itbwatch.*", alertstate="firing"})', "{{alertname}}"),), "bars"),
    )),
    Row("Throughput", (
        Panel("Observations", "A second, by what became of them.", "ops", (
            ("itbwatch:observations:rate5m", "{{outcome}}"),)),
        Panel("Lag", "Records not yet read.", "short", (("itbwatch:consumer_lag_records:by_topic", "{{topic}}"),)),
        Panel("Consumers made anew", "Because they stood still; in the hour before each point.", "short", (
            ("sum(increase(itbwatch_consumer_recreations_total[1h]))", ""),)),
    )),
    Row("Latencies", (
        Panel("Detection", "From the broker's append to the committed alert.", "s", (
            (quantile(0.5, "detection_latency_seconds", span="5m"), "half of them"),
            ("itbwatch:detection_latency_seconds:p99_5m", "99 of 100"))),
        Panel("Commit", "Of one batch.", "s", (
            (quantile(0.5, "store_commit_seconds", span="5m"), "half of them"),
            ("itbwatch:store_commit_seconds:p99_5m", "99 of 100"))),
        Panel("Waiting to leave", "For how long records have waited without one that was sent.", "s", (
            ("max by (topic) (itbwatch_outbox_waiting_seconds)", "{{topic}}"),)),
        Panel("Canary", "Age of the newest round trip of each worker's slowest partition.", "s", (
            ("itbwatch:canary_age_seconds", "{{instance}}"),)),
    )),
    Row("What was not used", (
        Panel("Rejected", "By reason, in the hour before each point.", "short", (
            ("topk(10, sum by (reason) (increase(itbwatch_records_rejected_total[1h])))", "{{reason}}"),)),
        Panel("Dead letters", "Kept with their bytes; by reason, in the hour before each point.", "short", (
            ("topk(10, sum by (reason) (increase(itbwatch_dead_letters_total[1h])))", "{{reason}}"),)),
        Panel("Refused by the broker", "Parked in the outbox; in the hour before each point.", "short", (
            ("sum by (topic) (increase(itbwatch_publish_refused_total[1h]))", "{{topic}}"),)),
        Panel("Used with a doubt", "In the hour before each point.", "short", (
            ("sum by (reason) (increase(itbwatch_records_remarked_total[1h]))", "{{reason}}"),)),
    )),
    Row("Models and drift", (
        Panel("Kept out", "1 = that model is not asked.", "short", (("max by (model) (itbwatch_model_quarantined)", "{{model}}"),)),
        Panel("Scores", "Of patients with a pump, an hour.", "short", (
            ("sum by (le) (increase(itbwatch_model_score_bucket[1h]))", "up to {{le}}"),)),
        Panel("Without an answer", "Rows on which a model said nothing, in the hour before each point.", "short", (
            ("sum by (model, reason) (increase(itbwatch_scores_indeterminate_total[1h]))", "{{model}} {{reason}}"),)),
        Panel("Drift", "Stability index of the inputs, as a part of its limit; above 1 is changed. Empty without a reference.", "percentunit", (
            ("itbwatch_input_drift / itbwatch_input_drift_limit", "{{signal}}"),)),
    )),
    Row("Resources", (
        Panel("Processor", "Cores in use.", "short", (("rate(itbwatch_process_cpu_seconds_total[5m])", "{{instance}}"),)),
        Panel("Memory", "Of the process.", "bytes", (("itbwatch_process_resident_memory_bytes", "{{instance}}"),)),
        Panel("Patients in memory", "Their stored form.", "bytes", (("itbwatch_state_bytes", "{{instance}}"),)),
        Panel("Open files", "And how many may be open.", "short", (
            ("itbwatch_process_open_fds", "{{instance}}"), ("itbwatch_process_max_fds", "{{instance}}: most"))),
        Panel("In force", "Which version and which plan each worker runs; two of one kind are an upgrade half done.", "short", (
            ("count by (version) (itbwatch_build_info)", "{{version}}"),
            ("count by (digest, rules_version) (itbwatch_plan_info)", "{{rules_version}} {{digest}}")), "bars"),
    )),
)  # fmt: skip
