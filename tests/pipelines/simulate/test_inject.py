from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from detector.clock import HOUR
from detector.errors import ConfigError, InputError
from detector.events import Context
from pipelines.datasets.canonical import read
from pipelines.simulate.backgrounds import Background, backgrounds, split, synthetic_backgrounds, unsuitable
from pipelines.simulate.body import ARTEFACTS, GENERATORS, HOURS, KINDS, SHAPES, WITHDRAWALS, course, severities
from pipelines.simulate.charting import Record, saturated
from pipelines.simulate.distributions import generator, quantile
from pipelines.simulate.inject import Injected, inject, twin
from pipelines.simulate.rows import record_of
from pipelines.simulate.shapes import recursion

CASES = [(kind, severity) for kind in KINDS for severity in severities(kind)]
USUAL = {
    "temp": 36.9, "hr": 84, "sbp": 118, "dbp": 59, "map": 78, "rr": 18, "gcs": 14, "ck": 90, "plt": 200, "creat": 0.9,
    "ast": 35, "alt": 30, "inr": 1.1, "bili": 0.6,
}  # fmt: skip


@pytest.fixture(scope="session")
def synthetic() -> list[Background]:
    return [one for one in synthetic_backgrounds(8, seed=4) if unsuitable(one) is None]


@pytest.fixture(scope="session")
def real(shared: Path) -> list[Background]:
    """Every tenth usable stay of MIMIC-III demo and some of CinC 2012."""
    folder = shared / "data" / "canonical"
    found = []
    for name, every in (("mimic_iii_demo", 8), ("cinc2012a_1000", 60)):
        dataset = read([folder / f"{name}.observations.parquet"], folder / f"{name}.stays.parquet", None)
        found += [one for one in backgrounds(dataset) if unsuitable(one) is None][::every]
    return found


def body_at(made: Injected, times: Callable[[Record], np.ndarray], signal: str) -> np.ndarray:
    seen = record_of(made.observations)
    return seen.value[seen.of(signal) & times(seen)]


# -- seeds


def test_the_same_seed_stay_and_kind_give_the_same_course_whatever_else_is_made(synthetic: list[Background]) -> None:
    alone = inject(synthetic[2], "withdrawal", "moderate", seed=7)
    for other in synthetic:
        inject(other, "sepsis", seed=7)
    again = inject(synthetic[2], "withdrawal", "moderate", seed=7)

    assert alone.observations.equals(again.observations)
    assert (alone.truth, alone.context, alone.pumps) == (again.truth, again.context, again.pumps)


@pytest.mark.parametrize("change", [{"seed": 8}, {"draw": 1}, {"severity": "mild"}])
def test_another_seed_draw_or_severity_gives_another_course(synthetic: list[Background], change: dict) -> None:
    asked = {"seed": 7, "severity": "moderate"}

    assert not inject(synthetic[2], "withdrawal", **asked).observations.equals(
        inject(synthetic[2], "withdrawal", **(asked | change)).observations
    )


# -- what an injection leaves alone


def unchanged_before_onset(background: Background, made: Injected) -> None:
    onset = made.truth.onset_at
    assert onset is not None
    columns = ["code", "value", "value_text", "unit", "effective_at", "available_at", "status"]
    before = made.observations.filter((pl.col("effective_at") < onset) & (pl.col("row") < 10_000_000))
    assert background.observations.filter(pl.col("effective_at") < onset).select(columns).equals(before.select(columns))


def vitals_at_real_times_only(background: Background, made: Injected) -> None:
    for signal in ("hr", "sbp", "map", "rr", "gcs"):
        real_times, times = ({*record_of(t).at[record_of(t).signal == signal]} for t in (background.observations, made.observations))  # fmt: skip
        assert times <= real_times
        if made.truth.watched_until >= background.last:
            assert len(times) >= 0.9 * len(real_times)


@pytest.mark.parametrize(("kind", "severity"), CASES)
def test_nothing_changes_before_the_onset_and_vitals_stay_at_their_times(
    synthetic: list[Background], kind: str, severity: str | None
) -> None:
    made = inject(synthetic[1], kind, severity, seed=3)

    unchanged_before_onset(synthetic[1], made)
    vitals_at_real_times_only(synthetic[1], made)


def test_the_same_holds_in_real_stays(real: list[Background]) -> None:
    for number, background in enumerate(real):
        kind, severity = CASES[number % len(CASES)]
        made = inject(background, kind, severity, seed=3)
        unchanged_before_onset(background, made)
        vitals_at_real_times_only(background, made)


def test_every_changed_or_made_value_says_that_it_is_synthetic_and_no_other(real: list[Background]) -> None:
    for background in real[:6]:
        made = inject(background, "withdrawal", "full_blown", seed=3).observations
        old = made.filter(pl.col("row") < 10_000_000).join(
            background.observations.select("row", was="value"), on="row", how="left"
        )
        moved = (old["value"] - old["was"]).abs().fill_null(0) > 1e-9

        assert ((old["source"] == "synthetic").fill_null(False) == moved).all()
        assert {"synthetic"} == {*made.filter(pl.col("row") >= 10_000_000)["source"]}


def test_the_background_noise_stays_in_what_is_measured(real: list[Background]) -> None:
    spread = []
    for background in real:
        made = inject(background, "withdrawal", "moderate", seed=3, family="balance")
        seen, was = record_of(made.observations), record_of(background.observations)
        after = seen.of("hr") & (seen.at >= made.truth.onset_at)
        before = was.of("hr") & (was.at >= made.truth.onset_at) & (was.at <= made.truth.watched_until)
        spread.append((np.std(np.diff(seen.value[after])), np.std(np.diff(was.value[before]))))
    with_course, without = np.median(spread, axis=0)

    assert 0.9 * without < with_course < 2.5 * without  # not smoothed away, not drowned


# -- orders and truth


@pytest.mark.parametrize(("kind", "severity"), CASES)
def test_no_test_is_ordered_before_something_can_be_seen(
    synthetic: list[Background], kind: str, severity: str | None
) -> None:
    for background in synthetic[:5]:
        made = inject(background, kind, severity, seed=5)
        extra = made.observations.filter(
            (pl.col("row") >= 10_000_000) & (pl.col("code") != "local:mas") & (pl.col("effective_at") >= made.truth.onset_at)
        )  # fmt: skip
        if len(extra):
            first = made.truth.first_visible_at if kind != "post_operative_ck" else made.truth.onset_at
            assert first is not None
            assert extra["effective_at"].min() >= first
            assert (extra["available_at"] >= extra["effective_at"]).all()


@pytest.mark.parametrize("kind", WITHDRAWALS)
def test_interruption_sign_and_organ_failure_come_in_this_order(synthetic: list[Background], kind: str) -> None:
    failures = 0
    for number in range(40):
        truth = inject(synthetic[number % len(synthetic)], kind, "full_blown", seed=number).truth
        assert truth.interrupted_at is not None
        assert truth.first_visible_at is not None
        assert truth.interrupted_at <= truth.onset_at <= truth.first_visible_at <= truth.watched_until
        assert 6 * HOUR <= truth.onset_at - truth.interrupted_at <= 96 * HOUR  # clinical evidence 1.3
        if truth.organ_failure_at is not None:
            failures += 1
            assert truth.first_visible_at <= truth.organ_failure_at <= truth.watched_until
        if kind == "restored_withdrawal":
            assert truth.restored_at is not None
            assert truth.onset_at < truth.restored_at < truth.watched_until

    assert failures >= 12


def test_a_twin_is_its_stay(real: list[Background]) -> None:
    for background in real[:6]:
        made = twin(background, seed=1, with_tone=False)
        rows = made.observations.filter(pl.col("row") < 10_000_000)

        assert background.observations["value"].equals(rows["value"])
        assert {"ck"} >= {*made.observations.filter(pl.col("row") >= 10_000_000)["code"]}
        assert (made.truth.onset_at, made.truth.organ_failure_at, made.pumps) == (None, None, [])


def test_what_any_stay_has_is_in_its_twin_and_its_course_alike(synthetic: list[Background]) -> None:
    for background in synthetic:
        made, without = inject(background, "isolated_kidney", seed=1), twin(background, seed=1)
        early = [
            [(one.kind, one.event, one.at) for one in stay.context if one.at < made.truth.onset_at and one.kind != "spasticity"]
            for stay in (made, without)
        ]  # fmt: skip

        assert early[0] == early[1]
    assert any(twin(background, seed=seed).context for background in synthetic for seed in range(3))


# -- tone


def tone_said(made: Injected) -> int:
    return len(made.observations.filter(pl.col("code").is_in(["mas", "local:mas"]))) + sum(
        one.kind in ("spasticity", "pruritus", "dysaesthesia") for one in made.context
    )


def test_without_tone_nobody_charts_it_and_the_body_is_the_same(synthetic: list[Background]) -> None:
    without = [inject(one, "withdrawal", "full_blown", seed=2, with_tone=False) for one in synthetic]
    with_tone = [inject(one, "withdrawal", "full_blown", seed=2) for one in synthetic]

    assert 0 == sum(map(tone_said, without))
    assert 5 < sum(map(tone_said, with_tone))
    for one, other in zip(without, with_tone, strict=True):
        hr_of = lambda made: record_of(made.observations).value[record_of(made.observations).of("hr")]  # noqa: E731
        assert np.array_equal(hr_of(one), hr_of(other))
        assert one.truth.organ_failure_at == other.truth.organ_failure_at


def test_ashworth_is_charted_in_twins_and_look_alikes_too(synthetic: list[Background]) -> None:
    def share(stays: list[Injected]) -> float:
        return float(np.mean(["local:mas" in set(one.observations["code"]) for one in stays]))

    made = [inject(one, "septic_shock", seed=s) for one in synthetic for s in range(5)]
    twins = [twin(one, seed=s) for one in synthetic for s in range(5)]

    assert share(made) == pytest.approx(0.75, abs=0.2)
    assert share(twins) == pytest.approx(0.75, abs=0.2)


# -- ranges of the published cases


def peaks(kind: str, severity: str | None, signal: str, of: Callable = np.max, until: float = 72.0) -> np.ndarray:
    inside = until >= HOURS
    out = []
    for number in range(150):
        made = course(kind, severity, GENERATORS[number % 3], USUAL, until, generator("peaks", kind, severity, number))
        level = np.full(HOURS.shape, float(USUAL.get(signal, 0.0))) * made.factor.get(signal, 1.0)
        level = saturated(signal, level, made.add.get(signal, np.zeros_like(HOURS)))
        out.append(of(level[inside]))
    return np.array(out)


@pytest.mark.parametrize(
    ("severity", "signal", "low", "median", "high"),
    [  # clinical evidence 1.4 and 1.6: 10th percentile at least, median between, 90th percentile at most
        ("mild", "temp", 36.6, (37.3, 38.4), 38.9),
        ("moderate", "temp", 36.8, (38.5, 39.9), 40.4),
        ("full_blown", "temp", 39.6, (40.2, 41.7), 42.7),
        ("mild", "ck", 120, (250, 900), 1_600),
        ("moderate", "ck", 500, (1_000, 4_000), 6_000),
        ("full_blown", "ck", 4_500, (7_000, 20_000), 50_000),
        ("moderate", "hr", 90, (105, 140), 165),
        ("full_blown", "hr", 105, (118, 160), 190),
    ],
)
def test_peaks_lie_where_the_published_cases_do(
    severity: str, signal: str, low: float, median: tuple[float, float], high: float
) -> None:
    tenth, middle, ninetieth = np.quantile(peaks("withdrawal", severity, signal), [0.1, 0.5, 0.9])

    assert tenth >= low
    assert median[0] <= middle <= median[1]
    assert ninetieth <= high


def test_full_blown_courses_fail_organs_and_moderate_ones_mostly_do_not() -> None:
    worst = {s: np.quantile(peaks("withdrawal", s, "plt", np.min), 0.3) for s in ("moderate", "full_blown")}

    assert worst["full_blown"] < 100 < worst["moderate"]
    assert np.quantile(peaks("withdrawal", "full_blown", "creat"), 0.5) > 1.5 * USUAL["creat"]
    assert np.quantile(peaks("withdrawal", "full_blown", "alt"), 0.6) > 500


def test_sepsis_has_no_rhabdomyolysis_and_post_operative_ck_no_high_fever() -> None:
    assert np.quantile(peaks("septic_shock", None, "ck"), 0.95) < 1_000
    assert np.quantile(peaks("post_operative_ck", None, "temp"), 0.9) < 39.0
    assert np.quantile(peaks("post_operative_ck", None, "ck"), 0.5) > 1_000


def test_some_moderate_courses_have_no_fever() -> None:
    share = np.mean(peaks("withdrawal", "moderate", "temp") < 37.6)

    assert 0.05 < share < 0.3  # W04: CK 2,500 without fever


def test_temperature_heart_and_muscle_rise_together() -> None:
    temp, ck, hr = (peaks("withdrawal", "full_blown", name) for name in ("temp", "ck", "hr"))

    assert np.corrcoef(temp, np.log(ck))[0, 1] > 0.3
    assert np.corrcoef(temp, hr)[0, 1] > 0.3


def test_after_restoration_the_temperature_falls_in_hours_and_ck_still_rises() -> None:
    falls, rises = [], []
    for number in range(60):
        made = course("restored_withdrawal", "full_blown", "balance", USUAL, 100, generator("restored", number))
        at = int(np.searchsorted(HOURS, made.restored_h))
        heat, ck = made.expected["temp"], made.expected["ck"]
        falls.append(heat[at + 60] < 0.25 * heat[at])  # ten hours on
        rises.append(HOURS[int(np.argmax(ck))] - HOURS[at])

    assert np.mean(falls) > 0.9
    assert 10 < np.median(rises) < 40  # still rising 24 h on (seed)


# -- errors and grammar


def test_a_stay_that_is_too_short_is_refused_with_what_was_expected(synthetic: list[Background]) -> None:
    short = synthetic[0].observations.filter(pl.col("effective_at") < synthetic[0].first + 20 * HOUR)
    background = Background("s", "p", short, synthetic[0].admitted_at)

    with pytest.raises(InputError, match="expected 30 h or more"):
        inject(background, "withdrawal", "mild", seed=1)


@pytest.mark.parametrize(
    ("kind", "severity", "family", "said"),
    [
        ("withdrawl", None, None, "did you mean 'withdrawal'"),
        ("withdrawal", "severe", None, "expected one of"),
        ("sepsis", None, "spline", "expected one of balance"),
    ],
)
def test_an_unknown_kind_severity_or_generator_is_named(
    synthetic: list[Background], kind: str, severity: str | None, family: str | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        inject(synthetic[0], kind, severity, seed=1, family=family)


@pytest.mark.parametrize("keep", [0.0001, 0.3, 0.9, 0.999, 1.0])
def test_a_clearance_leaves_what_the_sum_says(keep: float) -> None:
    inflow = np.random.default_rng(1).normal(size=700)
    level, expected = 0.0, []
    for amount in inflow:
        level = keep * level + amount
        expected.append(level)

    assert np.allclose(recursion(inflow, keep), expected, rtol=1e-9, atol=1e-9)


def test_distributions_have_the_quantiles_that_are_written() -> None:
    assert quantile({"low": 2, "high": 4}, 0.25) == pytest.approx(2.5)
    assert quantile({"low": 0, "mode": 1, "high": 2}, 0.5) == pytest.approx(1.0)
    assert quantile({"median": 10, "factor": 2}, 0.5) == pytest.approx(10)
    assert quantile({"median": 10, "factor": 2}, 0.8413) == pytest.approx(20, rel=1e-3)
    assert quantile({"median": 10, "factor": 2, "at_most": 12}, 1.0) == pytest.approx(12, rel=1e-3)
    with pytest.raises(ValueError, match="expected low and high"):
        quantile({"mean": 3}, 0.5)


def test_nothing_added_changes_nothing_and_nobody_sits_on_a_limit() -> None:
    for signal in SHAPES["bounds"]:
        value = np.linspace(1, 300, 300)
        assert np.allclose(saturated(signal, value, np.zeros_like(value)), value)
    hot = saturated("temp", np.full(50, 38.0), np.linspace(0, 20, 50))

    assert hot.max() < 43.7
    assert (np.diff(hot) > 0).all()


def test_every_kind_names_its_source_and_its_context_is_known() -> None:
    for kind in KINDS:
        written = SHAPES["kinds"][kind]
        assert written.get("source") or all(one["source"] for one in written["severities"].values())
    for said in (one for kind in SHAPES["kinds"].values() for one in kind.get("context", ())):
        Context(patient_id="p", kind=said["kind"], event=said["event"], at=0, available_at=0)
    assert {"probe_off", "unit_switch", "correction", "haemolysis"} == {*ARTEFACTS}


def test_the_split_is_by_patient_and_fixed() -> None:
    parts = [split(f"p{number}") for number in range(2_000)]

    assert parts == [split(f"p{number}") for number in range(2_000)]
    assert parts.count("train") == pytest.approx(1_000, abs=80)
    assert parts.count("tune") == pytest.approx(400, abs=60)
