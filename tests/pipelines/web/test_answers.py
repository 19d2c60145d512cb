"""Answers over HTTP, through the real application to the real service on a file."""

import json

import pytest
from starlette.testclient import TestClient

from detector.clock import MINUTE
from detector.errors import ConfigError
from detector.events import Encounter, Observation, Pump
from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.web.answers import answers
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.tokens import read_tokens
from tests.pipelines.in_process import alert_lines, append, drain, file_settings, serving

PLAN = load_plan(Settings())
T = 1_900_022_400_000
TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}
CONFIRM = {"action": "confirm", "reason": "pump_fault_found"}

HYPERPYREXIA = (
    Encounter(patient_id="MRN-1", stay_id="s", event="admitted", at=T, available_at=T),
    Pump(patient_id="MRN-1", event="implanted", at=T, available_at=T),
    Observation(patient_id="MRN-1", code="temp", value=41.6, unit="Cel", effective_at=T + MINUTE, available_at=T + MINUTE),
    Observation(patient_id="MRN-1", code="temp", value=41.7, unit="Cel", effective_at=T + 9 * MINUTE, available_at=T + 9 * MINUTE),
)  # fmt: skip


@pytest.fixture
def tokens(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "tokens"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


@pytest.fixture
def deployment(tmp_path, tokens):
    """(client, alert id, what lets the service take what came) of a service with one open alert."""
    settings = file_settings(tmp_path, http={"tokens_file": tokens(f"# ward 3\nDr. Example: {TOKEN}\n")})
    append(settings, *HYPERPYREXIA)
    with serving(settings, PLAN) as made:
        drain(made)
        (alert_id,) = {one["alert_id"] for one in alert_lines(settings) if one["syndrome"] == "itb_withdrawal"}
        app = build_app(
            Metrics(PLAN, settings),
            Board(settings.identity_key()),
            list,
            hosts=["testserver"],
            answers=answers(settings),
        )

        def told():
            drain(made)
            return [one for one in alert_lines(settings) if one["alert_id"] == alert_id]

        yield TestClient(app), f"/api/alerts/{alert_id}/acknowledgements", told


def test_an_answer_with_a_token_is_a_record_of_the_alert_by_who_has_the_token(deployment, tmp_path):
    client, path, told = deployment
    answered = client.post(path, json=CONFIRM, headers=BEARER)

    assert (202, "Dr. Example") == (answered.status_code, answered.json()["by"])
    assert "acknowledged" == told()[-1]["state"]

    sent = json.loads((tmp_path / "events.ndjson").read_bytes().splitlines()[-1])

    assert ("confirm", "pump_fault_found", "Dr. Example") == (sent["action"], sent["reason"], sent["by"])


def test_a_snooze_says_for_how_long(deployment):
    client, path, told = deployment
    snooze = {"action": "snooze", "reason": "other", "hours": 2}

    assert 202 == client.post(path, json=snooze, headers=BEARER).status_code
    assert "snoozed" == told()[-1]["state"]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
)
def test_without_a_token_or_with_another_nothing_is_taken(deployment, header):
    client, path, told = deployment
    before = len(told())
    refused = client.post(path, json=CONFIRM, headers={} if header is None else {"authorization": header})

    assert 401 == refused.status_code
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert before == len(told())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"action": "confirm"}, "reason"),
        ({"action": "delete", "reason": "other"}, "action"),
        ({"action": "confirm", "reason": "because"}, "reason"),
        ({"action": "confirm", "reason": "other", "by": "somebody else"}, "by"),
        ({"action": "snooze", "reason": "other", "hours": 13}, "12"),
        ({"action": "snooze", "reason": "other", "hours": 0}, "0"),
        ({"action": "confirm", "reason": "other", "hours": 2}, "expected the action snooze"),
        ([], "object"),
    ],
)
def test_an_answer_that_is_none_says_what_was_expected(deployment, body, says):
    client, path, told = deployment
    before = len(told())
    refused = client.post(path, json=body, headers=BEARER)

    assert 400 == refused.status_code
    assert says in refused.json()["error"]
    assert before == len(told())


def test_what_a_form_of_another_site_could_send_is_refused(deployment):
    client, path, _ = deployment
    body = b'{"action":"confirm","reason":"other"}'

    assert 415 == client.post(path, content=body, headers=BEARER | {"content-type": "text/plain"}).status_code
    assert (
        413
        == client.post(path, content=b" " * 5_000, headers=BEARER | {"content-type": "application/json"}).status_code
    )
    assert 405 == client.get(path, headers=BEARER).status_code


def test_an_alert_that_is_none_is_not_repeated(deployment):
    client, _, _ = deployment
    refused = client.post("/api/alerts/MRN-4711/acknowledgements", json=CONFIRM, headers=BEARER)

    assert 404 == refused.status_code
    assert "4711" not in refused.text


def test_an_answer_that_cannot_be_stored_is_told_and_names_nobody(deployment, tmp_path, caplog):
    client, path, _ = deployment
    (tmp_path / "events.ndjson").unlink()
    refused = client.post(path, json=CONFIRM, headers=BEARER)

    assert 503 == refused.status_code
    assert "MRN-1" not in refused.text + caplog.text


def test_without_a_file_of_tokens_the_service_is_read_only_and_says_so(tmp_path):
    settings = file_settings(tmp_path)
    app = build_app(Metrics(PLAN, settings), Board(settings.identity_key()), list, hosts=["testserver"])
    refused = TestClient(app).post("/api/alerts/x/acknowledgements", json=CONFIRM, headers=BEARER)

    assert 403 == refused.status_code
    assert "http.tokens_file" in refused.json()["error"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no token"),
        ("Dr. Example: short", "a token of 5 characters"),
        (f"{TOKEN}", "line 1: expected name: token"),
        (f"a: {TOKEN}\nb: {TOKEN}", "line 2: the token of an earlier line"),
        (f"a: {TOKEN[:20]} {TOKEN}", "line 1: a token"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used_names_the_line_and_no_token(tokens, text, says):
    with pytest.raises(ConfigError, match=says) as refused:
        read_tokens(tokens(text))

    assert TOKEN not in str(refused.value)


def test_a_file_of_tokens_that_others_may_read_is_refused(tokens):
    with pytest.raises(ConfigError, match="expected mode 0600"):
        read_tokens(tokens(f"a: {TOKEN}", 0o644))
