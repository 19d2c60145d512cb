import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import Http, Settings
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.server import WebServer, allowed_hosts
from tests.pipelines.test_results import record

SETTINGS = Settings()
SECRETS = ("Jane Doe", "stay-4711")


@pytest.fixture
def board() -> Board:
    board = Board(SETTINGS.identity_key())
    board.take([record(patient_id=SECRETS[0], stay_id=SECRETS[1])])
    return board


@pytest.fixture
def missing() -> list[str]:
    """What keeps the service from being ready; a test may add to it."""
    return []


@pytest.fixture
def client(board: Board, missing: list[str]) -> TestClient:
    metrics = Metrics(load_plan(SETTINGS), SETTINGS)
    app = build_app(metrics, board, lambda: missing, hosts=allowed_hosts("127.0.0.1"), notice="Synthetic <patients>")
    return TestClient(app, base_url="http://127.0.0.1:8480")


def test_the_page_shows_severity_headline_evidence_and_what_is_missing(client: TestClient) -> None:
    page = client.get("/").text

    for text in (
        "1 critical open alerts",
        "temp<b> 41.7 Cel</b>",
        "C-13",
        "no CK in 24 h",
        "2150-03-01 08:00",
        "Not a medical device",
    ):
        assert text in page


def test_evidence_that_several_rules_cite_is_shown_once(client: TestClient, board: Board) -> None:
    line = record().evidence[0]
    board.take(
        [
            record(
                sequence=2,
                evidence=(line, type(line)(**{f: getattr(line, f) for f in line.__struct_fields__} | {"rule": "R-06"})),
            )
        ]
    )

    page = client.get("/").text

    assert 1 == page.count("41.7 Cel")
    assert "C-13, R-06" in page


def test_nothing_served_holds_an_identifier(client: TestClient) -> None:
    for path in ("/", "/api/alerts", "/metrics", "/healthz", "/readyz"):
        assert not [secret for secret in SECRETS if secret in client.get(path).text], path


def test_every_value_is_escaped(client: TestClient) -> None:
    page = client.get("/").text

    assert "<script>" not in page
    assert "<b>probe" not in page
    assert "Synthetic &lt;patients&gt;" in page


def test_naughty_strings_stay_text(client: TestClient, board: Board, shared: Path) -> None:
    strings = [
        base64.b64decode(one).decode(errors="replace")
        for one in json.loads((shared / "corpora/blns/blns.base64.json").read_text())
    ]
    board.take(
        record(alert_id=f"{n:032x}", headline=text, unit=text, missing=(text,)) for n, text in enumerate(strings)
    )

    page = client.get("/").text

    assert len(strings) > 400
    assert 1 == page.lower().count("<script")  # ours
    assert "<img" not in page.lower()


def test_the_alerts_are_json_under_pseudonyms(client: TestClient) -> None:
    [alert] = client.get("/api/alerts").json()

    assert ("critical", "itb_withdrawal", "a" * 32) == (alert["severity"], alert["syndrome"], alert["alert_id"])
    assert 20 == len(alert["stay"])
    assert not {"patient_id", "stay_id"} & alert.keys()


def test_the_most_severe_alert_comes_first_and_a_resolved_one_goes(client: TestClient, board: Board) -> None:
    board.take([record(alert_id="b" * 32, severity="watch", at="2150-03-02T08:00:00.000Z")])
    assert ["critical", "watch"] == [one["severity"] for one in client.get("/api/alerts").json()]

    board.take([record(sequence=2, state="resolved")])
    assert ["watch"] == [one["severity"] for one in client.get("/api/alerts").json()]


def test_an_older_record_changes_nothing_and_a_lost_partition_s_alerts_go(client: TestClient, board: Board) -> None:
    board.take([record(sequence=3, severity="warning"), record(sequence=2, severity="info")])
    assert ["warning"] == [one["severity"] for one in client.get("/api/alerts").json()]

    board.forget(["a" * 32])
    assert [] == client.get("/api/alerts").json()


def test_ready_says_what_is_missing(client: TestClient, missing: list[str]) -> None:
    assert (200, "ready\n") == (client.get("/readyz").status_code, client.get("/readyz").text)

    missing.append("the store cannot be written")

    answer = client.get("/readyz")
    assert (503, "the store cannot be written\n") == (answer.status_code, answer.text)
    assert "the store cannot be written" in client.get("/").text
    assert 200 == client.get("/healthz").status_code


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/alerts", "/healthz", "/style.css", "/nowhere"])
def test_every_answer_carries_the_protective_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert ("nosniff", "no-referrer", "no-store") == (
        headers["x-content-type-options"], headers["referrer-policy"], headers["cache-control"],
    )  # fmt: skip


def test_nothing_comes_from_elsewhere(client: TestClient) -> None:
    assert "http:" not in client.get("/").text + client.get("/style.css").text
    assert "https:" not in client.get("/").text + client.get("/style.css").text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_only_reads(client: TestClient, method: str) -> None:
    assert 405 == client.request(method, "/").status_code
    assert 200 == client.head("/").status_code


def test_a_foreign_host_name_is_refused(client: TestClient) -> None:
    assert 400 == client.get("/", headers={"host": "evil.example"}).status_code


@pytest.fixture
def server(client: TestClient) -> Iterator[WebServer]:
    with WebServer(client.app, "127.0.0.1", 0) as server:  # type: ignore[arg-type]
        yield server


def test_the_server_answers_on_a_real_socket_and_stops(server: WebServer) -> None:
    assert 200 == httpx.get(server.url + "metrics").status_code

    server.__exit__(None, None, None)

    with pytest.raises(httpx.TransportError):
        httpx.get(server.url)


def test_a_taken_port_is_an_error_at_once(client: TestClient, server: WebServer) -> None:
    with pytest.raises(OSError, match="in use"):
        WebServer(client.app, "127.0.0.1", server.port)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "host", "status"),
    [
        ([], "icu-host:8480", 400),
        ([], "127.0.0.1:8480", 200),
        (["icu-host", "*.example.org"], "icu-host:8480", 200),
        (["icu-host", "*.example.org"], "ward.example.org", 200),
        (["icu-host"], "elsewhere", 400),
        (["*"], "elsewhere", 200),
    ],
)
def test_whoever_asks_by_a_name_of_the_site_is_answered_and_by_another_is_not(
    board: Board, names: list[str], host: str, status: int
) -> None:
    hosts = allowed_hosts("0.0.0.0", Http(hosts=names).hosts)
    app = build_app(Metrics(load_plan(SETTINGS), SETTINGS), board, list, hosts=hosts)

    assert status == TestClient(app, base_url="http://127.0.0.1").get("/healthz", headers={"host": host}).status_code


def test_a_stay_is_asked_for_by_its_pseudonym_and_has_its_own_alerts_only(client: TestClient, board: Board) -> None:
    board.take([record(alert_id="another", patient_id="somebody", stay_id="else")])
    told = client.get("/api/alerts").json()
    mine = next(one for one in told if one["alert_id"] != "another")
    answer = client.get(f"/api/stays/{mine['stay']}")

    assert 2 == len({one["stay"] for one in told})
    assert {"stay": mine["stay"], "alerts": [mine]} == answer.json()
    assert not any(secret in answer.text for secret in SECRETS)


@pytest.mark.parametrize("asked", ["0" * 20, *SECRETS])
def test_a_stay_that_is_not_there_is_404_and_what_was_asked_is_not_repeated(client: TestClient, asked: str) -> None:
    answer = client.get(f"/api/stays/{asked}")

    assert 404 == answer.status_code
    assert answer.json()["error"].startswith("stay: no open alert")
    assert asked not in answer.text


def test_a_stay_whose_alert_has_ended_is_404(client: TestClient, board: Board) -> None:
    stay = client.get("/api/alerts").json()[0]["stay"]
    board.take([record(sequence=2, state="resolved")])

    assert 404 == client.get(f"/api/stays/{stay}").status_code
