"""CDS Hooks: discovery, one card an open alert, and nothing for anybody else."""

import json
import uuid

import pytest
from starlette.testclient import TestClient

from detector.plan import Plan
from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.cds_hooks import LONGEST_SUMMARY, MOST_BYTES
from pipelines.web.server import allowed_hosts
from tests.pipelines.test_results import record

SETTINGS = Settings()
PATH = "/cds-services/itb-withdrawal"


@pytest.fixture
def board() -> Board:
    board = Board(SETTINGS.identity_key())
    board.take([
        record(patient_id="p", headline="Compatible with withdrawal"),
        record(patient_id="p", alert_id="b" * 32, severity="watch", syndrome="pump_status_query", headline="A pump?"),
        record(patient_id="p", alert_id="c" * 32, severity="warning", syndrome="data_quality"),
        record(patient_id="q", alert_id="d" * 32, severity="warning", syndrome="hyperpyrexia"),
    ])  # fmt: skip
    return board


@pytest.fixture
def missing() -> list[str]:
    return []


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(SETTINGS)


@pytest.fixture
def client(plan: Plan, board: Board, missing: list[str]) -> TestClient:
    metrics = Metrics(plan, SETTINGS)
    app = build_app(metrics, board, lambda: missing, hosts=allowed_hosts("127.0.0.1"))
    return TestClient(app, base_url="http://127.0.0.1:8480", client=("127.0.0.1", 50_000))


def asked(patient_id: str, **more: object) -> dict[str, object]:
    context = {"userId": "Practitioner/1", "patientId": patient_id, "encounterId": "e"}
    return {"hook": "patient-view", "hookInstance": str(uuid.uuid4()), "context": context} | more


def test_the_service_is_found_by_discovery(client: TestClient) -> None:
    (service,) = client.get("/cds-services").json()["services"]

    assert ("itb-withdrawal", "patient-view") == (service["id"], service["hook"])
    assert "Not a medical device" in service["description"]


def test_each_open_alert_of_the_patient_is_a_card_the_most_severe_first(client: TestClient) -> None:
    cards = client.post(PATH, json=asked("p")).json()["cards"]

    assert [("critical", "Compatible with withdrawal"), ("info", "A pump?")] == [
        (card["indicator"], card["summary"]) for card in cards
    ]
    assert "temp 41.7 Cel" in cards[0]["detail"]
    assert "no CK in 24 h" in cards[0]["detail"]
    assert "Not a medical device" in cards[0]["detail"]
    assert {"itbwatch"} == {card["source"]["label"] for card in cards}
    assert 2 == len({uuid.UUID(card["uuid"]) for card in cards})


def test_a_warning_is_a_warning_and_nobody_else_has_a_card(client: TestClient) -> None:
    assert ["warning"] == [card["indicator"] for card in client.post(PATH, json=asked("q")).json()["cards"]]
    assert {"cards": []} == client.post(PATH, json=asked("r")).json()


def test_a_resolved_alert_is_no_card_any_more(client: TestClient, board: Board) -> None:
    board.take([record(patient_id="q", alert_id="d" * 32, sequence=2, state="resolved", syndrome="hyperpyrexia")])

    assert {"cards": []} == client.post(PATH, json=asked("q")).json()


def test_no_card_is_never_taken_for_no_danger_while_nobody_watches(client: TestClient, missing: list[str]) -> None:
    missing.append("the store cannot be written")
    (card,) = client.post(PATH, json=asked("r")).json()["cards"]

    assert "info" == card["indicator"]
    assert "not watching" in card["summary"]
    assert "the store cannot be written" in card["detail"]


def test_a_summary_is_short_and_a_detail_holds_no_markup_of_its_own(client: TestClient, board: Board) -> None:
    board.take([record(patient_id="long", alert_id="e" * 32, headline="<b>" + "x" * 200)])
    (card,) = client.post(PATH, json=asked("long")).json()["cards"]

    assert LONGEST_SUMMARY == len(card["summary"])
    assert "<b>" not in card["detail"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"\xff", b'{"hook":"patient-view"}', b"[" * 100_000, json.dumps(asked("p", hook="order-sign")).encode(),
     json.dumps(asked("p", context={})).encode(), json.dumps(asked("p", context={"patientId": 5})).encode()],
    ids=range(9),
)  # fmt: skip
def test_what_is_no_request_is_refused_without_a_word_of_it(client: TestClient, body: bytes) -> None:
    answer = client.post(PATH, content=body)

    assert 400 == answer.status_code
    assert "expected" in answer.json()["error"]
    assert "order-sign" not in answer.text


def test_a_request_too_long_is_refused(client: TestClient) -> None:
    assert 413 == client.post(PATH, content=b" " * (MOST_BYTES + 1)).status_code


def test_the_patient_is_asked_for_in_the_body_and_no_answer_holds_an_identifier(
    client: TestClient, board: Board
) -> None:
    board.take([record(patient_id="Jane-Roe-4711", stay_id="stay-4711", alert_id="f" * 32)])
    answer = client.post(PATH, json=asked("Jane-Roe-4711"))

    assert 1 == len(answer.json()["cards"])
    assert "4711" not in answer.text
    assert 405 == client.get(PATH).status_code
    assert 404 == client.get(PATH + "/Jane-Roe-4711").status_code
