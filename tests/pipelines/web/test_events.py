"""Whoever listens is told what is open, what changes and what ends, and silence means a broken path."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.web import events
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.events import Shown, changed
from pipelines.web.server import WebServer, allowed_hosts
from tests.pipelines.test_results import record

SETTINGS = Settings()
OTHER = "b" * 32

Event = tuple[str, dict[str, Any]]


@pytest.fixture
def board() -> Board:
    board = Board(SETTINGS.identity_key())
    board.take([record(patient_id="Jane Doe", stay_id="stay-4711")])
    return board


@pytest.fixture
def url(board: Board) -> Iterator[str]:
    app = build_app(Metrics(load_plan(SETTINGS), SETTINGS), board, list, hosts=allowed_hosts("127.0.0.1"))
    with WebServer(app, "127.0.0.1", 0) as web:
        yield web.url + "api/events"


@contextmanager
def listening(url: str) -> Iterator[Iterator[Event]]:
    with httpx.stream("GET", url, timeout=10) as answer:
        assert (200, "text/event-stream; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
        yield _parsed(answer.iter_lines())


def _parsed(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            yield fields["event"], json.loads(fields["data"])
            fields = {}


def alerts_of(told: Iterator[Event]) -> Iterator[Event]:
    return ((name, data) for name, data in told if name not in ("heartbeat", "stays"))


def test_a_client_is_told_what_is_open_then_what_opens_changes_and_ends(url: str, board: Board) -> None:
    with listening(url) as every:
        told = alerts_of(every)
        name, first = next(told)
        assert ("alert", "critical", 1) == (name, first["severity"], first["sequence"])

        board.take([record(alert_id=OTHER, severity="watch")])
        name, opened = next(told)
        assert ("alert", OTHER, "watch") == (name, opened["alert_id"], opened["severity"])

        board.take([record(alert_id=OTHER, sequence=2, severity="warning", state="raised")])
        assert ("raised", "warning") == ((one := next(told)[1])["state"], one["severity"])

        board.take([record(alert_id=OTHER, sequence=3, state="resolved")])
        assert ("closed", {"alert_id": OTHER}) == next(told)


def test_an_event_is_what_the_list_of_alerts_shows_and_holds_no_identifier(url: str, board: Board) -> None:
    with listening(url) as every:
        _, alert = next(alerts_of(every))

    assert [alert] == json.loads(json.dumps(board.as_json()))
    assert "Jane Doe" not in json.dumps(alert)
    assert "stay-4711" not in json.dumps(alert)


def test_a_heart_beats_while_nothing_happens(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.3)
    with listening(url) as every:
        beats = [data for _, (name, data) in zip(range(7), every, strict=False) if name == "heartbeat"]

    assert [{"ready": True, "missing": []}] * 3 == beats


def test_a_slow_reader_is_told_once_how_it_stands_now(board: Board) -> None:
    def shown() -> dict[str, Shown]:
        return {one["alert_id"]: Shown(one["sequence"], json.dumps(one)) for one in board.as_json()}

    known = shown()

    board.take([record(sequence=n) for n in range(2, 50)])
    board.take([record(alert_id=OTHER), record(alert_id=OTHER, sequence=2, state="resolved")])

    [told] = changed(known, shown())
    assert 49 == json.loads(told)["sequence"]
    assert [] == changed(shown(), shown())


def test_a_commit_that_changes_no_open_alert_is_no_change(board: Board) -> None:
    before = board.changes

    board.take([])
    board.take([record()])
    board.take([record(alert_id=OTHER, state="resolved")])
    board.forget([OTHER])

    assert before == board.changes


def test_one_client_too_many_is_refused_and_the_place_of_one_that_left_is_free(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_CLIENTS", 1)
    with listening(url) as every:
        next(every)
        refused = httpx.get(url)
        assert 503 == refused.status_code
        assert "clients are listening" in refused.json()["error"]
    until = time.monotonic() + 20  # the server sees within a moment that the first one left
    while not (free := _is_taken(url)) and time.monotonic() < until:
        time.sleep(0.05)
    assert free


def _is_taken(url: str) -> bool:
    with httpx.stream("GET", url) as answer:
        return answer.status_code == 200


def test_an_open_stream_does_not_keep_the_server_from_ending(board: Board) -> None:
    app = build_app(Metrics(load_plan(SETTINGS), SETTINGS), board, list, hosts=allowed_hosts("127.0.0.1"))
    with WebServer(app, "127.0.0.1", 0) as web, httpx.stream("GET", web.url + "api/events", timeout=10) as answer:
        next(answer.iter_lines())
        web.__exit__(None, None, None)

        assert not web._thread.is_alive()


def test_all_clients_are_told_and_the_last_that_leaves_stops_the_looking(url: str, board: Board) -> None:
    with listening(url) as one, listening(url) as another:
        first, second = alerts_of(one), alerts_of(another)
        assert next(first) == next(second)
        board.take([record(alert_id=OTHER)])
        assert OTHER == next(first)[1]["alert_id"] == next(second)[1]["alert_id"]
    board.take([record(sequence=2, severity="watch")])  # while nobody listens
    with listening(url) as late:
        told = alerts_of(late)
        assert {("watch", 2), ("critical", 1)} == {
            (one["severity"], one["sequence"]) for _, one in (next(told), next(told))
        }


def test_the_more_listen_the_seldomer_each_is_told(url: str, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "TELL_SECONDS", 0.5)
    with listening(url) as one, listening(url) as another:
        first, second = alerts_of(one), alerts_of(another)
        assert next(first) == next(second)
        for sequence in range(2, 8):
            board.take([record(sequence=sequence)])
            time.sleep(0.3)

        assert [next(first)[1]["sequence"], next(first)[1]["sequence"]] != [2, 3]  # what came between was left out


def test_nobody_hears_a_heart_that_beats_while_nobody_looks_any_more(
    url: str, board: Board, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.3)
    with listening(url) as every:
        next(every)
        with monkeypatch.context() as broken:
            broken.setattr(board, "as_json", lambda: 1 / 0)
            board.take([record(sequence=2)])
            list(every)  # it ends
    with listening(url) as again:
        assert 2 == next(alerts_of(again))[1]["sequence"]
