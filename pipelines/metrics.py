"""Prometheus metrics of the service, on a registry of their own (DESIGN.md section 3, prefix ``itbwatch_``).

Every label set is made at start from fixed lists, so that a rate is never missing its first step and no input can grow
the number of series; a value outside its list is counted as ``other``. The one exception is ``alert_active``, whose
series live as long as their alert: it is capped, and its ``stay`` is a keyed pseudonym.
"""

from __future__ import annotations

import platform
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from detector.alerts import OPEN
from detector.clean import REASONS as OUTCOMES
from detector.clock import HOUR, from_datetime
from detector.engine import Ward
from detector.episode import Episode
from detector.ledger import METRICS as COUNTS
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import SEVERITIES, AlertRecord, Batch, Syndrome
from detector.rules.truth import WORDS as TRUTHS
from detector.writing import WITHDRAWAL_SCORE
from pipelines.formats import REMARKS, reasons
from pipelines.pseudonym import pseudonym
from pipelines.settings import Settings
from pipelines.store import OUTGOING
from pipelines.web.cds_token import REASONS as CDS_REFUSED

OTHER = "other"
SYNDROMES: tuple[str, ...] = get_args(Syndrome)

PUMPS = ("present", "absent", "explanted", "unknown")
REJECTED = (*reasons(), *OUTCOMES, "key_mismatch", "partition_mismatch", "offset_out_of_range", "bad_merge")
SUPPRESSED = ("no_pump", "pump_unknown", "overdose_pattern", "post_restoration")
KINDS = ("encounter", "pump", "context", "observation", "acknowledgement", "merge")
IGNORED = (
    "duplicate",
    "stay_closed",
    "no_such_stay",
    "older_stay",
    "unknown_baseline",
    "implausible_baseline",
    "implausible_weight",
    "implausible_age",
    "no_such_alert",
    "bad_merge",
    "into_itself",
)
INDETERMINATE = ("too_sparse", "outside_fitted_range", "quarantined")
CLOSED = ("discharged", "merged", "silent_for_48h", "superseded")

SILENT_AFTER = 2 * HOUR  # a vital sign is stale then (clinical-evidence.md section 5.1)

DELAYS = (1, 10, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 259_200)  # s; up to the late limit of labs
ANSWERS = (60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200, 86_400)  # s; a reminder comes after 12 h
LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)  # s
SCORES = tuple(n / 10 for n in range(11))

M = TypeVar("M", Counter, Gauge, Histogram)


class _Family(Generic[M]):
    """One metric with all its children made at start; looking one up never makes another."""

    def __init__(self, metric: M, *values: Sequence[str]) -> None:
        self.children: dict[tuple[str, ...], M] = {labels: metric.labels(*labels) for labels in product(*values)}
        self._values = [frozenset(known) for known in values]

    def __getitem__(self, labels: tuple[str, ...]) -> M:
        child = self.children.get(labels)
        if child is not None:
            return child
        known = (label if label in values else OTHER for label, values in zip(labels, self._values, strict=True))
        return self.children[tuple(known)]


class _ActiveAlerts(Collector):
    """A series for each open alert, up to a cap; the most severe and then the oldest have precedence."""

    NAME = "itbwatch_alert_active"

    def __init__(self, cap: int, overflow: Counter) -> None:
        self._cap = cap
        self._overflow = overflow
        self._left_out: frozenset[str] = frozenset()
        self._series: tuple[tuple[str, ...], ...] = ()

    def show(self, alerts: Iterable[tuple[Episode, tuple[str, ...]]]) -> None:
        ranked = sorted(alerts, key=lambda one: (-one[0].severity, one[0].opened_at, one[0].alert_id))
        self._series = tuple(labels for _, labels in ranked[: self._cap])
        left_out = frozenset(episode.alert_id for episode, _ in ranked[self._cap :])
        self._overflow.inc(len(left_out - self._left_out))
        self._left_out = left_out

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            self.NAME, "1 while the alert is open", labels=("stay", "syndrome", "severity", "unit")
        )
        for labels in dict.fromkeys(self._series):
            family.add_metric(labels, 1)
        yield family

    def describe(self) -> Iterator[Metric]:
        return iter(())


class Metrics:
    """What the service counts. The loop's thread writes, the web's thread reads."""

    def __init__(self, plan: Plan, settings: Settings) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # "_created" doubles the series and no rule reads it
        self.registry = CollectorRegistry()
        self._key = settings.identity_key()
        self._units = frozenset(settings.wards)
        self._opened: dict[str, int] = {}
        units = (*settings.wards, OTHER)
        signals = (*plan.catalogue.signals, "unknown", OTHER)
        file = Path(settings.file.path).name
        names = settings.kafka.topics.model_dump() if settings.source == "kafka" else {file: file}
        self._topics = {**names, **{name: name for name in names.values()}}
        topics = (*names.values(), OTHER)

        self._alerts = self._counter(
            "alerts", "Alerts opened or raised.", syndrome=SYNDROMES, severity=tuple(SEVERITIES), unit=units
        )
        self._active = self._gauge(
            "alerts_active", "Alerts open now.", syndrome=SYNDROMES, severity=tuple(SEVERITIES), unit=units
        )
        self._unanswered = self._gauge(
            "alerts_unanswered", "Alerts open now that nobody has answered.",
            syndrome=SYNDROMES, severity=tuple(SEVERITIES), unit=units,
        )  # fmt: skip
        overflow = Counter(
            "alert_active_overflow",
            "Alerts left out of alert_active by its cap.",
            namespace="itbwatch",
            registry=self.registry,
        )
        self._each = _ActiveAlerts(settings.alert_active.cap, overflow) if settings.alert_active.enabled else None
        if self._each:
            self.registry.register(self._each)
        self._answers = self._single(
            Histogram,
            "alert_acknowledgement_seconds",
            "From opening to acknowledgement, in event time.",
            buckets=ANSWERS,
        )
        self._lead = self._single(
            Histogram,
            "alert_lead_seconds",
            "From opening below critical to being raised to it, in event time.",
            buckets=ANSWERS,
        )
        label_values = {
            "signal": signals, "outcome": (*OUTCOMES, OTHER), "rule": (*plan.rules, OTHER), "truth": TRUTHS, "kind": (*KINDS, OTHER), "model": (*plan.models, OTHER),
        }  # fmt: skip
        reasons = {
            "alerts_suppressed_total": (*SUPPRESSED, OTHER), "stays_closed_total": (*CLOSED, OTHER), "events_ignored_total": (*IGNORED, OTHER),
            "scores_indeterminate_total": (*INDETERMINATE, OTHER),
        }  # fmt: skip
        self._counts = {
            metric: self._counter(
                metric.removesuffix("_total"), "Counted by the detector.",
                **{label: label_values.get(label) or reasons[metric] for label in labels},
            )
            for metric, labels in COUNTS.items()
        }  # fmt: skip
        self._rejected = self._counter(
            "records_rejected", "Records that could not be used.", topic=topics, reason=(*REJECTED, OTHER)
        )
        self._remarked = self._counter(
            "records_remarked", "Records that were used, with a doubt.", topic=topics, reason=(*REMARKS, OTHER)
        )
        self._dead_letters = self._counter(
            "dead_letters", "Records kept aside with their bytes.", reason=(*REJECTED, OTHER)
        )
        self._refused = self._counter(
            "publish_refused", "Records kept aside, because the broker will never take them.", topic=(*OUTGOING, OTHER)
        )
        self._outbox = self._gauge(
            "outbox_waiting_seconds", "How long records have waited without one that was sent.", topic=tuple(OUTGOING)
        )
        self._cds_refused = self._counter(
            "cds_requests_refused", "CDS Hooks requests whose sender may not ask.", reason=tuple(CDS_REFUSED)
        )
        self._delays = self._histogram(
            "observation_delay_seconds", "From measurement to record.", DELAYS, signal=signals
        )
        self._latency = self._single(
            Histogram,
            "detection_latency_seconds",
            "From the broker's append to the committed alert.",
            buckets=LATENCIES,
        )
        self._lag = Gauge(
            "consumer_lag_records",
            "Records not yet read.",
            ("topic", "partition"),
            namespace="itbwatch",
            registry=self.registry,
        )
        self._lagging: frozenset[tuple[str, str]] = frozenset()
        self._last_record = self._single(Gauge, "last_record_timestamp_seconds", "Time of the newest record.")
        self._canary = self._single(Gauge, "canary_timestamp_seconds", "Oldest of the canaries that came through.")
        self._stays = self._gauge("stays_monitored", "Stays open now.", unit=units, pump=PUMPS)
        self._silent = self._gauge("stays_silent", "Open stays without an observation for 2 h.", unit=units)
        self._commits = self._single(Histogram, "store_commit_seconds", "Time of one commit.", buckets=LATENCIES)
        self._store_up = self._single(Gauge, "store_up", "1 while the store can be written.")
        self._kafka_up = self._single(Gauge, "kafka_up", "1 while a broker answers.")
        self._recreations = self._single(
            Counter, "consumer_recreations", "Consumers replaced because they stood still."
        )
        self._state = self._single(Gauge, "state_bytes", "Stored form of the patients in memory.")
        self._scores = self._single(Histogram, "model_score", "Withdrawal scores of gated patients.", buckets=SCORES)
        self._quarantined = self._gauge("model_quarantined", "1 while a model is kept out.", model=tuple(plan.models))
        self._shadow_alerts = self._counter(
            "shadow_alerts", "Alerts that the plan in the shadow would have opened or raised.",
            syndrome=SYNDROMES, severity=tuple(SEVERITIES),
        )  # fmt: skip
        self._shadow_up = self._single(Gauge, "shadow_up", "1 while a plan runs in the shadow.")
        self._drift = self._gauge(
            "input_drift", "Population stability index against the reference.", signal=tuple(plan.catalogue.signals)
        )
        self._drift_limit = self._gauge(
            "input_drift_limit", "What the index must exceed to count.", signal=tuple(plan.catalogue.signals)
        )
        self.input_drift({}, {})
        ProcessCollector(namespace="itbwatch", registry=self.registry)
        self._gauge("build_info", "1.", version=(version("itbwatch"),), python=(platform.python_version(),))[
            version("itbwatch"), platform.python_version()
        ].set(1)
        self._gauge("plan_info", "1.", digest=(plan.digest,), rules_version=(plan.rules_version,))[
            plan.digest, plan.rules_version
        ].set(1)

    def batch(self, batch: Batch, ledger: Ledger) -> None:
        """Count what the detector let out and what it decided in silence. Its rejections are counted here too."""
        for record in batch.records:
            self._record(record)
        for one in batch.rejected:
            self.rejected(one.position.topic if one.position else OTHER, one.reason)
        for (metric, *labels), count in ledger.counts.items():
            self._counts[metric][tuple(labels)].inc(count)
        for signal, seconds in ledger.delays:
            self._delays[signal,].observe(max(0.0, seconds))  # charted ahead: a sum that falls is no histogram

        for name, score in ledger.scores:
            if name == WITHDRAWAL_SCORE:
                self._scores.observe(score)

    def _record(self, record: AlertRecord) -> None:
        if record.state in ("opened", "raised"):
            self._alerts[record.syndrome, record.severity, self._unit(record.unit)].inc()
        at = from_datetime(datetime.fromisoformat(record.at))
        if record.state == "opened":
            self._opened[record.alert_id] = at
        elif record.state == "raised" and record.severity == "critical" and record.alert_id in self._opened:
            self._lead.observe((at - self._opened[record.alert_id]) / 1000)
        elif record.state == "acknowledged" and record.alert_id in self._opened:
            self._answers.observe((at - self._opened[record.alert_id]) / 1000)

    def refresh(self, wards: Iterable[Ward], alarms: Iterable[AlertRecord] = ()) -> None:
        """Set the gauges that say how things stand now: open alerts (``alarms`` are the service's own), monitored and
        silent stays.
        """
        active = Count[tuple[str, ...]]((one.syndrome, one.severity, OTHER) for one in alarms)
        unanswered: Count[tuple[str, ...]] = Count()
        stays: Count[tuple[str, ...]] = Count()
        silent: Count[tuple[str, ...]] = Count()
        each: list[tuple[Episode, tuple[str, ...]]] = []
        for ward in wards:
            for patient_id, episode in ward.open_alerts():
                labels = (episode.syndrome, episode.severity.word, self._unit(episode.unit))
                active[labels] += 1
                unanswered[labels] += episode.state == OPEN
                each.append((episode, (pseudonym(self._key, patient_id, episode.stay_id), *labels)))
            for stay in ward.stays():
                unit = self._unit(stay.unit)
                stays[unit, stay.pump] += 1
                heard_of = max(stay.opened_at, stay.newest_observation_at or stay.opened_at)
                silent[unit,] += stay.now - heard_of > SILENT_AFTER
        for family, counts in (
            (self._active, active), (self._unanswered, unanswered), (self._stays, stays), (self._silent, silent),
        ):  # fmt: skip
            for known, child in family.children.items():
                child.set(counts[known])
        self._opened = {episode.alert_id: episode.opened_at for episode, _ in each}
        if self._each:
            self._each.show(each)

    def rejected(self, topic: str, reason: str) -> None:
        """A record that could not be used; ``topic`` is its name in the configuration or on the broker."""
        self._rejected[self._topics.get(topic, OTHER), reason].inc()

    def remarked(self, topic: str, remark: str) -> None:
        """A record that was used with a doubt (``pipelines.formats.REMARKS``); ``topic`` as for ``rejected``."""
        self._remarked[self._topics.get(topic, OTHER), remark].inc()

    def dead_letter(self, reason: str) -> None:
        self._dead_letters[reason,].inc()

    def publish_refused(self, topic: str) -> None:
        """``topic`` is a role."""
        self._refused[topic,].inc()

    def outbox(self, waiting_s: Callable[[str], float]) -> None:
        """``waiting_s`` is asked at every scrape, so that it grows while a publisher hangs; ``topic`` is a role."""
        for (topic,), child in self._outbox.children.items():
            child.set_function(partial(waiting_s, topic))

    def cds_refused(self, reason: str) -> None:
        """``reason`` is a word of ``pipelines.web.cds_token.REASONS``."""
        self._cds_refused[reason,].inc()

    def lag(self, behind: Mapping[tuple[str, int], int]) -> None:
        """By (topic, partition). One that is not among them is not ours any more: its last value would stand for ever."""
        series = {(self._topics.get(topic, OTHER), str(partition)): records
                  for (topic, partition), records in behind.items()}  # fmt: skip
        for gone in self._lagging - series.keys():
            self._lag.remove(*gone)
        self._lagging = frozenset(series)
        for labels, records in series.items():
            self._lag.labels(*labels).set(records)

    def commit_seconds(self, seconds: float) -> None:
        self._commits.observe(seconds)

    def detection_latency(self, seconds: float) -> None:
        self._latency.observe(seconds)

    def kafka_up(self, up: bool) -> None:  # noqa: FBT001 - the method's name says what is true
        self._kafka_up.set(up)

    def store_up(self, up: bool) -> None:  # noqa: FBT001 - as above
        self._store_up.set(up)

    def last_record(self, at_seconds: float) -> None:
        self._last_record.set(at_seconds)

    def canary(self, at_seconds: float) -> None:
        self._canary.set(at_seconds)

    def consumer_recreated(self) -> None:
        self._recreations.inc()

    def state_bytes(self, size: int) -> None:
        self._state.set(size)

    def shadow(self, records: Iterable[AlertRecord]) -> None:
        """What the plan in the shadow would have let out."""
        for record in records:
            if record.state in ("opened", "raised"):
                self._shadow_alerts[record.syndrome, record.severity].inc()

    def input_drift(self, indices: Mapping[str, float], limits: Mapping[str, float]) -> None:
        """The index of each signal that could be judged, and its limit; the others are NaN."""
        for family, values in ((self._drift, indices), (self._drift_limit, limits)):
            for (signal,), child in family.children.items():
                child.set(values.get(signal, float("nan")))

    def shadow_up(self, up: bool) -> None:  # noqa: FBT001 - as above
        self._shadow_up.set(up)

    def model_quarantined(self, model: str, *, quarantined: bool) -> None:
        self._quarantined[model,].set(quarantined)

    def text(self) -> bytes:
        """The registry in Prometheus' text format."""
        return generate_latest(self.registry)

    def _unit(self, unit: str | None) -> str:
        return unit if unit in self._units else OTHER

    def _counter(self, name: str, text: str, **labels: Sequence[str]) -> _Family[Counter]:
        return _Family(
            Counter(name, text, tuple(labels), namespace="itbwatch", registry=self.registry), *labels.values()
        )

    def _gauge(self, name: str, text: str, **labels: Sequence[str]) -> _Family[Gauge]:
        return _Family(Gauge(name, text, tuple(labels), namespace="itbwatch", registry=self.registry), *labels.values())

    def _histogram(self, name: str, text: str, buckets: Sequence[float], **labels: Sequence[str]) -> _Family[Histogram]:
        metric = Histogram(name, text, tuple(labels), namespace="itbwatch", registry=self.registry, buckets=buckets)
        return _Family(metric, *labels.values())

    def _single(self, kind: type[M], name: str, text: str, **options: Any) -> M:
        return kind(name, text, namespace="itbwatch", registry=self.registry, **options)
