"""The board in a real browser: what a nurse sees, without reloading, and what she is told when nothing comes any more."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from detector.clock import HOUR, MINUTE
from detector.engine import StayView
from detector.records import Differential
from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.web.answers import Answers
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.server import WebServer, allowed_hosts
from tests.pipelines.test_results import record

SETTINGS = Settings()
TOKEN = "0123456789abcdef0123456789abcdef"
MOST_BYTES = 300_000
SHOTS = os.environ.get("ITBWATCH_SCREENSHOTS")
"""A folder for pictures of what was tested, for people to look at."""

AT = 1_900_022_400_000


def watched(patient: str, minutes: int, unit: str = "MICU") -> StayView:
    now = AT + HOUR
    return StayView(patient, "s", unit, "present", now - minutes * MINUTE, now, AT)


class Ward:
    """A board that is served, and what was sent to it."""

    def __init__(self) -> None:
        self.board = Board(SETTINGS.identity_key())
        self.missing: list[str] = []
        self.answers: list[tuple[object, ...]] = []
        app = build_app(
            Metrics(load_plan(SETTINGS), SETTINGS), self.board, lambda: self.missing, hosts=allowed_hosts("127.0.0.1"),
            answers=Answers({TOKEN: "Dr. Example"}, self._answered),
        )  # fmt: skip
        self.server = WebServer(app, "127.0.0.1", 0)

    def _answered(self, *answer: object) -> dict[str, object]:
        self.answers.append(answer)
        return {"alert_id": answer[0], "state": "opened"}


@pytest.fixture
def ward() -> Iterator[Ward]:
    ward = Ward()
    with ward.server:
        yield ward


@pytest.fixture
def opened(browser: Browser, ward: Ward) -> Iterator[Callable[..., Page]]:
    """Opens the page of the ward; a script that fails, or anything that is asked of elsewhere, fails the test."""
    wrong: list[str] = []
    contexts = []

    def page(path: str = "", **how: object) -> Page:
        context = browser.new_context(**how)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: request.url.startswith(ward.server.url) or wrong.append(request.url))
        page.on("console", lambda said: "Content Security" in said.text and wrong.append(said.text))
        page.goto(ward.server.url + path)
        return page

    yield page
    for context in contexts:
        context.close()
    assert wrong == []


def pictured(page: Page, name: str) -> None:
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def test_an_alert_appears_without_reload_changes_and_goes(ward: Ward, opened: Callable[..., Page]) -> None:
    page = opened()
    expect(page.locator("#state")).to_have_text("live")
    began = time.monotonic()
    ward.board.take([record(headline="Fever", differentials=(Differential("sepsis", "cultures separate them"),))])

    card = page.locator("article.alert")
    expect(card).to_have_count(1, timeout=2_000)
    assert time.monotonic() - began < 2
    expect(page.locator("#counts")).to_have_text("1 critical open alerts")
    expect(page.get_by_role("heading", name="MICU: 1 critical")).to_be_visible()
    expect(card).to_contain_text("critical Fever")
    for said in ("41.7 °C", "Missing: no CK in 24 h", "Also think of: sepsis", "pump present, interruption unknown"):
        expect(card).to_contain_text(said)

    card.locator("summary").click()
    for said in ("measured 2150-03-01 08:00, known 2150-03-01 08:05", "C-13", "cultures separate them", "Information, not orders"):  # fmt: skip
        expect(card).to_contain_text(said)
    pictured(page, "ward")

    ward.board.take([record(sequence=2, state="acknowledged", headline="Fever")])
    expect(card).to_contain_text("acknowledged")
    expect(card.locator("details")).to_have_attribute("open", "")  # who reads is not disturbed
    ward.board.take([record(sequence=3, state="resolved")])
    expect(card).to_have_count(0)
    expect(page.locator("#counts")).to_have_text("no open alerts")


def test_who_is_watched_is_listed_with_the_age_of_the_data(ward: Ward, opened: Callable[..., Page]) -> None:
    ward.board.take([record(stay_id="s", patient_id="a")])
    ward.board.hear([watched("a", 7), watched("b", 3), watched("c", 200), watched("d", 1, "SICU")])
    page = opened()

    expect(page.locator("article.alert .age")).to_have_text("data 7 min old")
    expect(page.get_by_text("2 watched without an alert, 1 of them without data")).to_be_visible()
    page.get_by_text("2 watched without an alert").click()
    expect(page.get_by_text("no data for 3 h")).to_be_visible()
    expect(page.get_by_role("heading", name="SICU: no alert")).to_be_visible()


def test_a_service_that_died_is_told_across_the_page_within_two_heartbeats(
    ward: Ward, opened: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.web.events.HEARTBEAT_SECONDS", 1.0)
    monkeypatch.setattr("pipelines.web.ward_page.HEARTBEAT_SECONDS", 1.0)
    ward.board.take([record()])
    page = opened()
    expect(page.locator("article.alert")).to_have_count(1)
    expect(page.locator("#banner")).to_be_hidden()

    ward.server.__exit__(None, None, None)

    expect(page.locator("#banner")).to_contain_text("No connection since", timeout=3_500)
    expect(page.locator("#state")).to_have_text("not connected")
    expect(page.locator("article.alert")).to_have_count(1)  # what was known stays, greyed
    pictured(page, "stale")


def test_a_service_that_is_not_ready_and_feeds_that_are_silent_are_told_as_well(
    ward: Ward, opened: Callable[..., Page]
) -> None:
    ward.board.hear([watched("a", 200)])
    ward.missing.append("the store cannot be written")
    page = opened()

    expect(page.locator("#banner")).to_contain_text("The service is not ready: the store cannot be written")
    expect(page.locator("#banner")).to_contain_text("No data of any watched stay")


def test_an_answer_needs_a_token_and_names_who_gave_it(ward: Ward, opened: Callable[..., Page]) -> None:
    ward.board.take([record()])
    page = opened()
    page.get_by_role("button", name="Answer…").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("select[name=action]").select_option("snooze")
    dialog.locator("select[name=reason]").select_option("pump_checked_ok")
    dialog.get_by_label("hours of snooze").fill("3")
    dialog.get_by_label("your token").fill("x" * 32)
    dialog.get_by_role("button", name="Send").click()
    expect(dialog).to_contain_text("not taken: Authorization")
    assert [] == ward.answers

    dialog.get_by_label("your token").fill(TOKEN)
    dialog.get_by_role("button", name="Send").click()
    expect(dialog).to_contain_text("sent by Dr. Example")
    assert [("a" * 32, "snooze", "pump_checked_ok", "Dr. Example", 3.0)] == ward.answers
    assert TOKEN not in page.content()


def test_names_come_from_a_file_of_this_screen_and_are_sent_nowhere(
    ward: Ward, opened: Callable[..., Page], tmp_path: Path
) -> None:
    ward.board.take([record()])
    ((pseudonym, _),) = ward.board.alerts()
    names = tmp_path / "names.csv"
    names.write_text(f"{pseudonym},<b>Bed 7</b>, Example\n")
    page = opened()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url + (request.post_data or "")))
    page.locator("#names").set_input_files(names)

    expect(page.locator("a.stay")).to_contain_text("<b>Bed 7</b>, Example")
    assert not [one for one in sent if "Bed" in one]


def test_naughty_strings_run_nothing_and_break_no_layout(
    ward: Ward, opened: Callable[..., Page], shared: Path, tmp_path: Path
) -> None:
    strings = [
        base64.b64decode(one).decode(errors="replace")
        for one in json.loads((shared / "corpora/blns/blns.base64.json").read_text())
    ]
    assert len(strings) > 500
    ward.board.take(
        record(
            alert_id=f"{n:032x}", patient_id=text, stay_id=text, headline=text, unit=text, missing=(text,), against=(text,),
            checks=(text,), differentials=(Differential(text, text),),
        )
        for n, text in enumerate(strings)
    )  # fmt: skip
    named = ward.board.alerts()
    page = opened(viewport={"width": 390, "height": 844})
    expect(page.locator("article.alert")).to_have_count(len(strings), timeout=30_000)
    names = tmp_path / "names.csv"
    names.write_text("".join(f"{stay},{record.headline!r}\n" for stay, record in named))
    page.locator("#names").set_input_files(names)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.wait_for_timeout(500)

    assert 0 == page.evaluate("document.querySelectorAll('main script, main img, main iframe, main object').length")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out_of_the_page(ward: Ward, opened: Callable[..., Page], scheme: str) -> None:
    ward.board.take(
        record(alert_id=f"{n:032x}", severity=word, state=state, missing=("no CK",), against=("no fever",))
        for n, (word, state) in enumerate(
            [("critical", "opened"), ("warning", "acknowledged"), ("watch", "opened"), ("info", "opened")]
        )
    )
    ward.board.hear([watched("a", 3), watched("c", 200)])
    page = opened(color_scheme=scheme)
    expect(page.locator("article.alert")).to_have_count(4)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.get_by_role("button", name="Answer…").first.click()

    found = Axe().run(page, context="dialog").response["violations"]
    page.keyboard.press("Escape")
    found += Axe().run(page).response["violations"]
    pictured(page, f"ward-{scheme}")

    assert [] == [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


def test_the_page_is_light_quick_and_not_held_up_by_two_hundred_stays_that_change_every_second(
    ward: Ward, opened: Callable[..., Page]
) -> None:
    def change(sequence: int) -> None:
        ward.board.take(
            record(alert_id=f"{n:032x}", patient_id=f"p{n}", unit=f"ICU {n % 4}", sequence=sequence, headline=f"now {sequence}")
            for n in range(200)
        )  # fmt: skip

    files = ("", "style.css", *(f"static/{name}.js" for name in ("ward", "stream", "dom", "answer")))
    weight = sum(len(httpx.get(ward.server.url + file).content) for file in files)
    assert weight < MOST_BYTES
    change(1)
    page = opened()
    expect(page.locator("article.alert")).to_have_count(200)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.evaluate(
        "window.long = []; new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => one.duration)))"
        ".observe({ entryTypes: ['longtask'] })"
    )
    for sequence in range(2, 8):
        change(sequence)
        page.wait_for_timeout(1_000)
    expect(page.get_by_text("now 7").first).to_be_visible()

    print(f"page {weight:,} bytes, first content {paint:.0f} ms, long tasks {page.evaluate('window.long')}")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo on a free port, and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines", "demo", "--port", "0", "--for", "120"], stdout=subprocess.PIPE, text=True,
        cwd=tmp_path,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        first = running.stdout.readline()
        yield running, first.split()[2]
        running.kill()


def test_the_demo_shows_a_stay_with_its_signals_its_course_and_what_the_models_added(
    demo: tuple[subprocess.Popen[str], str], browser: Browser
) -> None:
    running, url = demo
    with browser.new_context(viewport={"width": 1300, "height": 900}) as context:
        page = context.new_page()
        page.goto(url)
        critical = page.locator("article.alert.critical").first
        expect(critical).to_be_visible(timeout=60_000)
        critical.locator("a.stay").click()
        for said in (
            "The stay",
            "Evidence, newest first",
            "Information, not orders",
            "Course of the alert",
            "Reference ranges",
        ):
            expect(page.get_by_text(said).first).to_be_visible()
        expect(page.locator("svg.stay")).to_be_visible()
        expect(page.locator("svg.stay text", has_text="body temperature").first).to_be_visible()
        assert [] == [one["id"] for one in Axe().run(page).response["violations"] if one["impact"] == "critical"]
        pictured(page, "stay")

        running.send_signal(signal.SIGKILL)
        expect(page.locator("#banner")).to_contain_text("No connection since", timeout=12_000)
