"""The report of a replay: what a clinician finds in it, and that nothing in the data can make it do anything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detector.clock import HOUR, MINUTE, from_datetime
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from pipelines.burden import Exposure
from pipelines.commands.simulate import START
from pipelines.dataset import RANK, Dataset
from pipelines.plan_files import load_plan
from pipelines.replay import Outcome, replay
from pipelines.reports.alerted import alerted_stays, at_its_worst
from pipelines.reports.course import course_of
from pipelines.reports.overview import _by_day
from pipelines.reports.report import report
from pipelines.reports.stay_page import _overview
from pipelines.results import summarise
from pipelines.settings import Settings
from pipelines.simulate import Bed, events
from pipelines.web.alert_html import moment

PLAN = load_plan(Settings())
T0 = from_datetime(START)
RUN = {"inputs": ["ward.ndjson"], "format": "canonical", "pumps": None, "synthetic": True, "remarks": []}
SCRIPTS = (
    "<script>document.title='ran'</script>", "\"><img src=x onerror=\"document.title='ran'\">", "</title></style><svg onload=alert(1)>",
    "'><a href='javascript:document.title=1'>x</a>", "<iframe src='https://example.org/'>", "</text></svg><b>bold</b>", "&lt;script&gt;",
)  # fmt: skip


def dataset(happened: list[PatientEvent]) -> Dataset:
    return Dataset(
        ("ward.ndjson",), others=[((e.available_at, RANK[type(e)], 0, row), e) for row, e in enumerate(happened)]
    )


def reported(data: Dataset, outcome: Outcome, **options: Any) -> tuple[str, dict[str, str]]:
    summary = summarise(outcome, PLAN, rows=len(data), seconds=1.0, run=RUN | options.pop("run", {}))
    first, stays, pages = report(data, outcome, summary, PLAN, **options)
    made = dict(pages)
    assert stays == len(made)
    return first, made


def hot(patient: str, stay: str, **names: str) -> list[PatientEvent]:
    """A patient without a pump who is far too hot: a hyperpyrexia alert."""
    unit, bed = names.get("unit", "MICU"), names.get("bed", "1")
    detail, source = names.get("detail", "propofol"), names.get("source", "monitor")
    who = {"patient_id": patient, "stay_id": stay}
    return [
        Encounter(event="admitted", at=T0, available_at=T0, unit=unit, bed=bed, **who),
        Pump(patient_id=patient, event="absent", at=T0, available_at=T0, result=detail),
        Context(kind="sedation", event="started", at=T0 + HOUR, available_at=T0 + HOUR, detail=detail, **who),
        *(Observation(code="8329-5", unit="Cel", value=41.8, effective_at=T0 + n * HOUR, available_at=T0 + n * HOUR + MINUTE,
                      source=source, **who) for n in range(1, 4)),
        Observation(code=detail, value=1.0, effective_at=T0 + HOUR, available_at=T0 + HOUR, **who),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def ward() -> Dataset:
    return dataset(
        events(
            [Bed(1, pump=True, course="published"), Bed(2), Bed(3, course="hyperthermia", onset_h=3)], T0, 48, seed=1
        )
    )


@pytest.fixture(scope="module")
def outcome(ward: Dataset) -> Outcome:
    return replay(ward, Settings())


@pytest.fixture(scope="module")
def written(ward: Dataset, outcome: Outcome) -> tuple[str, dict[str, str]]:
    return reported(ward, outcome)


@pytest.fixture(scope="module")
def published(written: tuple[str, dict[str, str]]) -> str:
    return next(html for html in written[1].values() if "<h1>Stay SYN-0001-1 of patient SYN-0001</h1>" in html)


class Read(HTMLParser):
    """What a browser would make of a page: elements, attributes that could do something, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_alerted_stay_has_a_page_and_is_linked_by_pseudonym(
    outcome: Outcome, written: tuple[str, dict[str, str]]
) -> None:
    first, pages = written
    links = re.findall(r'href="report/([^"]+)"', first)

    assert {one.stay_id for one in outcome.records} == {"SYN-0001-1", "SYN-0003-1"}
    assert sorted(pages) == sorted(links)
    assert all(re.fullmatch(r"[0-9a-f]{20}\.html", name) for name in pages), (
        "no identifier in a file name or an address"
    )


def test_the_alerted_stays_come_by_severity_then_by_time(outcome: Outcome) -> None:
    calm = [msgspec.structs.replace(one, patient_id="calm", severity="watch") for one in outcome.records[:1]]
    early = [msgspec.structs.replace(one, patient_id="early", at="2029-01-01T00:00:00.000Z") for one in outcome.records if one.severity == "critical"]  # fmt: skip
    order = [one.patient_id for one in alerted_stays([*calm, *outcome.records, *early], PLAN.identity_key)]

    assert "early" == order[0]
    assert "calm" == order[-1]


def test_a_page_follows_the_order_in_which_a_clinician_reads(published: str) -> None:
    headings = ("withdrawal, critical:", "Evidence, newest first", "Missing", "Pump and context", "Also think of", "Could be checked",
                "Information, not orders", "What the models added", "rules 20")  # fmt: skip
    text = Read(published[published.index('<section id="alert-1">') :]).text
    places = [text.index(heading) for heading in headings]

    assert sorted(places) == places
    assert "not known of the pump" in text
    assert "diagnosis" not in text


def test_the_picture_has_every_signal_with_its_reference_range_the_events_and_the_alert(published: str) -> None:
    drawn = published[published.index("<svg") : published.index("</svg>")]

    for words in ("body temperature", "creatine kinase", "platelets", "creatinine", "alanine aminotransferase", "ventilation",
                  "ward", "pump", "1 itb withdrawal", "ref. 36.1 to 38", "cited as evidence"):  # fmt: skip
        assert words in drawn, words
    assert "NEWS2 zero band" in published, "each range with its source"


def test_the_record_that_is_read_first_is_the_one_with_the_most_evidence(outcome: Outcome) -> None:
    mine = [one for one in outcome.records if one.patient_id == "SYN-0001" and one.syndrome == "itb_withdrawal"]
    chosen = at_its_worst(mine)

    assert "critical" == chosen.severity
    assert {"ck", "plt", "alt"} <= {line.signal for line in chosen.evidence}


def test_the_signs_of_an_alert_begin_with_its_first_and_never_after_it_opened(outcome: Outcome) -> None:
    """The onset of a later record is that of what still stood then."""
    opened = next(one for one in outcome.records if one.onset_at)
    later = msgspec.structs.replace(opened, sequence=2, onset_at="2090-01-01T00:00:00.000Z")
    [row] = _overview([[opened, later]], [later], "open")

    assert opened.onset_at is not None
    assert moment(opened.onset_at) in map(str, row)
    assert moment(later.onset_at) not in map(str, row)


def test_information_carries_no_dose(published: str) -> None:
    told = published.split("Information, not orders</h4>")[1].split("</ul>", maxsplit=1)[0]

    assert "definitive" in told
    assert not re.search(r"\d\s*(mg|ug|mcg|g|mL)\b", Read(told).text)


def test_every_page_says_what_it_is_and_that_the_data_are_synthetic(written: tuple[str, dict[str, str]]) -> None:
    first, pages = written

    for html in (first, *pages.values()):
        assert "Not a medical device" in html
        assert "Synthetic data" in html
        assert "default-src 'none'" in html


def test_assumed_pumps_are_said_on_every_page(ward: Dataset, outcome: Outcome) -> None:
    first, pages = reported(ward, outcome, run={"pumps": "all", "synthetic": False})

    for html in (first, *pages.values()):
        assert "taken to have a pump" in html
        assert "Synthetic" not in html


def test_pages_beyond_the_limit_are_left_out_and_counted(ward: Dataset, outcome: Outcome) -> None:
    first, pages = reported(ward, outcome, most=1)

    assert 1 == len(pages)
    assert "The first 1 have a page; 1 do not" in first
    assert "SYN-0003-1" in first, "it is in the table all the same"
    assert {} == reported(ward, outcome, most=0)[1]


def test_only_the_patients_that_are_shown_are_read_again(ward: Dataset, outcome: Outcome) -> None:
    asked: list[str] = []

    class Watched(Dataset):
        def of(self, patients: Any) -> Dataset:
            asked.extend(wanted := list(patients))
            return super().of(wanted)

    reported(Watched(ward.files, others=ward.others), outcome, most=1)

    assert ["SYN-0001"] == asked


def test_the_burden_is_counted_by_unit_and_by_day(
    ward: Dataset, outcome: Outcome, written: tuple[str, dict[str, str]]
) -> None:
    text = Read(written[0]).text
    counted = [one for one in outcome.records if one.state in ("opened", "raised")]
    by_unit = re.findall(r"<tr><td>(\w+)</td>((?:<td class=\"number\">[\d.,]+</td>)+)</tr>", written[0].split("By unit")[1].split("</table>")[0])  # fmt: skip
    alerts = [int(n) for _, cells in by_unit for n in re.findall(r">([\d.,]+)<", cells)[2:6]]

    assert len(counted) == sum(alerts)
    for heading in ("By syndrome and severity", "By day of the stay", "By unit and day of the stay", "By calendar day (UTC)",
                    "Rejected", "Too late to be used", "Suppressed"):  # fmt: skip
        assert heading in text


def test_the_days_of_a_stay_are_counted_against_the_stays_that_lasted_so_long() -> None:
    data = dataset(hot("p", "s"))
    first, _ = reported(data, replay(data, Settings()))
    days = first.split("By day of the stay")[1].split("</table>")[0]

    assert 1 == days.count("<td>day ")
    assert "<td>day 1</td>" in days


def test_a_day_of_the_stay_is_counted_for_as_long_as_it_lasted() -> None:
    days = _by_day(Outcome(stays=[Exposure("s", "MICU", T0, T0 + 60 * HOUR), Exposure("t", "SICU", T0, T0 + 6 * HOUR)]))

    assert [(30 * HOUR, 2), (24 * HOUR, 1), (12 * HOUR, 1)] == [(one.watched, one.stays) for one in days.values()]


def test_a_corrected_reading_is_drawn_as_it_finally_stood_and_counted() -> None:
    def temp(value: float | None, at: int, **more: Any) -> Observation:
        return Observation(patient_id="p", stay_id="s", code="8329-5", unit="Cel", value=value, effective_at=T0 + at * HOUR,
                           available_at=T0 + at * HOUR + more.pop("after", 0), **more)  # fmt: skip

    happened: list[PatientEvent] = [
        *hot("p", "s"), temp(39.0, 4, observation_id="a"), temp(38.0, 4, observation_id="a", status="corrected", after=1),
        temp(40.0, 5, observation_id="b"), temp(None, 5, observation_id="b", status="entered-in-error", after=1),
        temp(40.5, 6), temp(38.5, 6, status="corrected", after=1), temp(60.0, 7), temp(37.0, -30, after=31 * HOUR),
    ]  # fmt: skip
    data = dataset(happened)
    (stay,) = alerted_stays(replay(data, Settings()).records, PLAN.identity_key)
    course = course_of([event for _, event in data.others], stay, PLAN.catalogue)

    assert [41.8, 41.8, 41.8, 38.0, 38.5] == [one.value for one in course.readings["temp"]]
    assert {
        ("temp", "corrected"): 2, ("temp", "removed"): 1, ("temp", "implausible"): 1, ("propofol", "unknown_code"): 1,
    } == course.not_drawn  # fmt: skip


def test_a_stay_of_a_merged_patient_is_drawn_from_the_events_of_both() -> None:
    later = T0 + 5 * HOUR
    merged = Encounter(patient_id="old", stay_id="s", event="merged", into="new", at=later, available_at=later)
    again = Observation(
        patient_id="new", stay_id="s", code="8329-5", unit="Cel", value=42.0, effective_at=later, available_at=later + 1
    )
    data = dataset([*hot("old", "s"), merged, again])
    _, pages = reported(data, replay(data, Settings()))

    assert pages
    assert all("41.8 to 42 Cel" in html for html in pages.values())


def test_a_patient_id_that_is_a_path_gives_no_file_outside() -> None:
    data = dataset(hot("../../etc/passwd", "../x"))
    _, pages = reported(data, replay(data, Settings()))

    assert [True] == [re.fullmatch(r"[0-9a-f]{20}\.html", name) is not None for name in pages]


@pytest.fixture(scope="module")
def hostile() -> tuple[str, dict[str, str]]:
    data = dataset([
        event for number, bad in enumerate(SCRIPTS)
        for event in hot(f"{number}{bad}", bad, unit=bad, bed=bad, detail=bad, source=bad)
    ])  # fmt: skip
    return reported(data, replay(data, Settings()), run={"inputs": [SCRIPTS[0]], "remarks": [SCRIPTS[1]]})


def test_names_that_look_like_scripts_are_text(hostile: tuple[str, dict[str, str]]) -> None:
    first, pages = hostile

    assert len(SCRIPTS) == len(pages)
    for html in (first, *pages.values()):
        _check_harmless(html)
    for number, bad in enumerate(SCRIPTS):
        assert f"{number}{bad}" in Read(first).text
        mine = [text for html in pages.values() if f"patient {number}{bad}" in (text := Read(html).text)]
        assert 1 == len(mine)
        assert mine[0].count(bad) >= 6, "patient, stay, unit, bed, drug, source"


def test_naughty_strings_are_text(shared: Path) -> None:
    strings = [one for one in json.loads((shared / "corpora/blns/blns.json").read_text()) if one]
    data = dataset([
        *hot("p", "s"),
        *(Context(patient_id="p", stay_id="s", kind="sedation", event="given", at=T0 + HOUR, available_at=T0 + HOUR, detail=one)
          for one in strings),
    ])  # fmt: skip
    (html,) = reported(data, replay(data, Settings()))[1].values()
    _check_harmless(html)
    text = re.sub(r"\s+", " ", Read(html).text)

    assert len(strings) > 400
    shown = [one for one in strings[-300:] if re.sub(r"\s+", " ", one).strip("\0 ") in text]
    assert len(shown) > 280


def test_a_browser_runs_nothing_of_a_hostile_page(
    hostile: tuple[str, dict[str, str]], rendered: Callable[[Path], str], tmp_path: Path
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report.html").write_text(hostile[0])
    # without our policy and all together: what is not escaped would run
    pages = re.sub("<meta http-equiv[^>]*>", "", "".join(hostile[1].values()))
    (tmp_path / "pages.html").write_text(pages)

    for name in ("report.html", "pages.html"):
        dom = rendered(tmp_path / name)
        assert "<title>itbwatch" in dom
        assert not {"script", "img", "iframe"} & set(re.findall(r"<(\w+)", dom))


def _check_harmless(html: str) -> None:
    read = Read(html)
    assert not read.tags & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "link",
        "foreignobject",
        "audio",
        "video",
    }
    assert not [name for name in read.attributes if name.startswith("on") or name == "style"]
    assert not [
        link for link in read.links if not re.fullmatch(r"#[\w-]+|\.\./report\.html|report/[0-9a-f]{20}\.html", link)
    ]
