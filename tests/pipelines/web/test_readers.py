"""Who may look, asked of the real server by a real client, and in a browser."""

import base64

import httpx
import pytest
from playwright.sync_api import expect
from pydantic import ValidationError
from starlette.testclient import TestClient

from detector.errors import ConfigError
from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import Http, Settings
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.readers import readers
from pipelines.web.server import WebServer, allowed_hosts
from tests.pipelines.test_results import record

SETTINGS = Settings()
PLAN = load_plan(SETTINGS)
LOOKS, ANSWERS = "wall-screen-token-0123456789abcdef", "nurse-token-0123456789abcdef-0123"
PAGES = ("/", "/api/alerts", "/api/stays/0", "/stays/0", "/style.css", "/static/ward.js", "/favicon.ico")
USER = {"x-forwarded-user": "nurse@example.org"}


@pytest.fixture
def files(tmp_path):
    def made(name, text):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return {"readers_file": made("readers", f"wall: {LOOKS}\n"), "tokens_file": made("tokens", f"nurse: {ANSWERS}\n")}


def app_of(http):
    board = Board(SETTINGS.identity_key())
    board.take([record()])
    return build_app(
        Metrics(PLAN, SETTINGS), board, list, hosts=[*allowed_hosts(http.host), "testserver"],
        readers=readers(http),
    )  # fmt: skip


def client_of(http, peer="10.9.8.7"):
    return TestClient(app_of(http), client=(peer, 50_000))


def basic(text):
    return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def bearer(token):
    return {"authorization": f"Bearer {token}"}


# -- whether anybody is asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "icu-host"])
def test_an_address_beyond_loopback_is_refused_where_nobody_can_say_who_they_are(host):
    with pytest.raises(ValidationError, match="expected readers_file, tokens_file or proxies as well"):
        Http(host=host)


@pytest.mark.parametrize("set_", [{"proxies": ["10.1.2.3"]}, {"readers_file": "a"}, {"tokens_file": "a"}])
def test_any_of_the_three_lets_it_be_served(set_):
    assert Http(host="0.0.0.0", **set_)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_on_loopback_everybody_may_look_even_where_answers_need_a_token(files, host):
    assert readers(Http(host=host)).everybody
    assert readers(Http(host=host, tokens_file=files["tokens_file"])).everybody


@pytest.mark.parametrize("bad", ["10.0.0.1/8", "proxy", "", "10.0.0.0/33"])
def test_a_proxy_is_an_address_or_a_network(bad):
    with pytest.raises(ValidationError, match="expected an address or a network"):
        Http(proxies=[bad])


def test_a_file_that_cannot_be_used_is_named_with_its_setting(tmp_path):
    (tmp_path / "readers").touch(0o600)

    with pytest.raises(ConfigError, match=r"\$\.http\.readers_file: .* holds no token"):
        readers(Http(readers_file=str(tmp_path / "readers")))


# -- who is answered ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {}, bearer("wrong"), bearer(LOOKS[:-1]), bearer(f"{LOOKS}x"), basic("wall"), basic(f"{LOOKS}:"), basic("wall:wrong"),
        {"authorization": "Basic ***"}, {"authorization": "Basic /w=="}, {"authorization": LOOKS}, USER,
        {"x-forwarded-for": "127.0.0.1"}, {"authorization": b"Bearer \xff"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", PAGES)
def test_who_shows_no_token_is_asked_for_one_and_sees_nothing(files, path, headers):
    answer = client_of(Http(host="10.1.2.3", **files)).get(path, headers=headers)

    assert 401 == answer.status_code
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "content-security-policy" in answer.headers
    assert ["error"] == list(answer.json())


@pytest.mark.parametrize("token", [LOOKS, ANSWERS])
@pytest.mark.parametrize("shown", [bearer, lambda token: basic(f"any:{token}"), lambda token: basic(f":{token}")])
def test_a_token_of_either_file_lets_look(files, token, shown):
    client = client_of(Http(host="10.1.2.3", **files))

    assert [200, 200] == [client.get(path, headers=shown(token)).status_code for path in ("/", "/api/alerts")]


def test_on_loopback_a_file_of_readers_asks_everybody(files):
    client = client_of(Http(readers_file=files["readers_file"]), "127.0.0.1")

    assert [401, 200] == [client.get("/").status_code, client.get("/", headers=bearer(LOOKS)).status_code]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_and_metrics_ask_nobody(files, path):
    assert 200 == client_of(Http(host="10.1.2.3", **files)).get(path).status_code


@pytest.mark.parametrize("token", [LOOKS, ANSWERS])
def test_who_may_only_look_may_not_answer(files, token):
    """Nobody may here, as no answers were given to the application: what is seen is whose refusal it is."""
    client = client_of(Http(host="10.1.2.3", **files))
    answer = client.post("/api/alerts/a/acknowledgements", json={}, headers=bearer(token))

    assert (403, True) == (answer.status_code, "nobody may answer" in answer.json()["error"])


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("10.1.0.5", USER, 200),
        ("10.9.9.9", USER, 200),
        ("::ffff:10.9.9.9", USER, 200),
        ("2001:db8::1", USER, 200),
        ("10.1.0.5", {}, 401),
        ("10.1.0.5", {"x-forwarded-user": " "}, 401),
        ("10.2.0.5", USER, 401),
        ("127.0.0.1", USER, 401),
        ("10.2.0.5", {**USER, "x-forwarded-for": "10.1.0.5", "forwarded": "for=10.1.0.5"}, 401),
        ("not an address", USER, 401),
    ],
)
def test_the_header_of_a_proxy_is_believed_of_its_addresses_alone(peer, headers, status):
    http = Http(host="10.1.2.3", proxies=["10.1.0.0/24", "10.9.9.9", "2001:db8::/64"])

    assert status == client_of(http, peer).get("/", headers=headers).status_code


def test_what_a_header_says_of_the_address_of_who_asks_is_not_believed(files):
    """Asked of the server itself, which is what could believe it."""
    http = Http(proxies=["10.1.0.5"], readers_file=files["readers_file"])
    with WebServer(app_of(http), "127.0.0.1", 0) as server:
        answer = httpx.get(server.url, headers={**USER, "x-forwarded-for": "10.1.0.5"})

    assert 401 == answer.status_code


def test_a_browser_that_was_asked_once_fills_its_page_and_goes_on_listening(browser, files):
    with WebServer(app_of(Http(**files)), "127.0.0.1", 0) as server:
        known = browser.new_context(http_credentials={"username": "wall", "password": LOOKS}).new_page()
        known.goto(server.url)
        expect(known.locator("article.alert")).to_have_count(1)
        expect(known.locator("#state")).to_have_text("live")
        known.context.close()
