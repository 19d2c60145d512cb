"""CDS Hooks 2.0, "Trusting CDS Clients": whose requests are answered, and why others are not."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from starlette.testclient import TestClient

from detector.errors import ConfigError
from pipelines.metrics import Metrics
from pipelines.plan_files import load_plan
from pipelines.settings import CdsClient, CdsHooks, Settings
from pipelines.settings_file import read_settings
from pipelines.web import cds_token
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.cds_token import REASONS, Guard, KeyFile, Refused
from tests.pipelines.test_results import record

URL = "https://itb.example.org"
SERVICE = "/cds-services/itb-withdrawal"
ISSUER = "https://ehr.example.org/"
ASKED = {"hook": "patient-view", "hookInstance": "1", "context": {"patientId": "p"}}

P384 = ec.generate_private_key(ec.SECP384R1())
OTHER = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65_537, 2_048)
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(key: Any, kid: str, **more: object) -> dict[str, object]:
    algorithm = {
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    made = next(one for kind, one in algorithm.items() if isinstance(key, kind))
    return {**made.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def write(path: Path, *keys: dict[str, object]) -> Path:
    path.write_text(json.dumps({"keys": keys}))
    return path


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return write(tmp_path / "ehr.json", jwk(P384, "a", alg="ES384", use="sig"), jwk(RSA, "r"), jwk(ED, "e"))


@pytest.fixture
def settings(keys: Path) -> CdsHooks:
    return CdsHooks(url=URL, clients=[CdsClient(issuer=ISSUER, jwks_file=str(keys))])


@pytest.fixture
def guard(settings: CdsHooks) -> Guard:
    return Guard(settings)


def claims(**changed: object) -> dict[str, object]:
    now = int(time.time())
    said = {"iss": ISSUER, "aud": URL + SERVICE, "iat": now, "exp": now + 300, "jti": os.urandom(8).hex()} | changed
    return {name: value for name, value in said.items() if value is not None}


def token(
    said: dict[str, object] | None = None, *, key: Any = P384, alg: str | None = "ES384", **header: object
) -> str:
    headers = {name: value for name, value in ({"kid": "a", "typ": "JWT"} | header).items() if value is not None}
    return jwt.encode(said or claims(), key, alg, headers)


def refused(guard: Guard, authorization: str | None) -> str:
    with pytest.raises(Refused) as caught:
        guard.check(authorization, URL + SERVICE)
    return caught.value.reason


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    plain = Settings()
    return Metrics(load_plan(plain), plain)


Asking = Callable[..., httpx.Response]


@pytest.fixture
def ask(settings: CdsHooks, metrics: Metrics) -> Asking:
    """Through the whole application, from another machine."""
    board = Board(Settings().identity_key())
    board.take([record(patient_id="p", headline="Compatible with withdrawal")])
    app = build_app(metrics, board, list, hosts=["itb.example.org"], cds=Guard(settings, metrics.cds_refused))
    client = TestClient(app, base_url=URL, client=("192.0.2.7", 50_000))

    def asking(method: str, path: str, **more: Any) -> httpx.Response:
        return client.request(method, path, **more)

    return asking


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(P384, "ES384", "a"), (RSA, "RS384", "r"), (RSA, "PS256", "r"), (ED, "EdDSA", "e")]
)
def test_a_token_of_a_client_is_taken(guard: Guard, key: Any, alg: str, kid: str) -> None:
    guard.check(f"Bearer {token(key=key, alg=alg, kid=kid)}", URL + SERVICE)
    guard.check(f"bearer {token(claims(aud=['x', URL + SERVICE]), key=key, alg=alg, kid=kid)}", URL + SERVICE)


@pytest.mark.parametrize(
    ("reason", "made"),
    [
        ("no_token", lambda: None),
        ("no_token", lambda: "Basic YTpi"),
        ("no_token", lambda: "Bearer "),
        ("bad_token", lambda: "Bearer x"),
        ("bad_token", lambda: "Bearer " + "[" * 30_000),
        ("bad_token", lambda: "Bearer " + "WyJb" * 9_000 + ".e30.e30"),
        ("bad_token", lambda: f"Bearer {token(kid=None)}"),
        ("bad_token", lambda: f"Bearer {token(typ='at+jwt')}"),
        ("bad_token", lambda: f"Bearer {token(claims(jti=None))}"),
        ("bad_token", lambda: f"Bearer {token(claims(exp=None))}"),
        ("bad_token", lambda: f"Bearer {token(claims(exp='soon'))}"),
        ("bad_token", lambda: f"Bearer {token(claims(exp=float('inf')))}"),
        ("bad_token", lambda: f"Bearer {token(claims(iat=True))}"),
        ("unknown_key", lambda: f"Bearer {token(kid='b')}"),
        ("bad_signature", lambda: f"Bearer {token(key=OTHER)}"),
        ("bad_signature", lambda: f"Bearer {token(key=RSA, alg='RS384')}"),
        ("bad_signature", lambda: f"Bearer {token(key=None, alg=None)}"),
        ("bad_signature", lambda: f"Bearer {token(key='0' * 64, alg='HS256')}"),
        ("unknown_issuer", lambda: f"Bearer {token(claims(iss='https://evil.example'))}"),
        ("wrong_audience", lambda: f"Bearer {token(claims(aud=URL + '/cds-services'))}"),
        ("wrong_audience", lambda: f"Bearer {token(claims(aud=URL + SERVICE + '/'))}"),
        ("expired", lambda: f"Bearer {token(claims(exp=int(time.time()) - 60, iat=int(time.time()) - 300))}"),
        ("expired", lambda: f"Bearer {token(claims(iat=int(time.time()) + 120))}"),
        ("too_long", lambda: f"Bearer {token(claims(exp=int(time.time()) + 7_200))}"),
    ],
    ids=range(24),
)
def test_any_other_token_is_refused_with_its_reason(guard: Guard, reason: str, made: Callable[[], str | None]) -> None:
    assert reason == refused(guard, made())


def test_a_token_with_one_letter_changed_is_refused(guard: Guard) -> None:
    good = token()
    for place in range(0, len(good) - 1, 7):  # of the last letter some bits are padding
        changed = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
        assert refused(guard, f"Bearer {changed}") in REASONS
    guard.check(f"Bearer {good}", URL + SERVICE)


def test_a_token_is_taken_once_and_a_forged_one_does_not_use_it_up(guard: Guard) -> None:
    said = claims()
    assert "bad_signature" == refused(guard, f"Bearer {token(said, key=OTHER)}")
    guard.check(f"Bearer {token(said)}", URL + SERVICE)

    assert "replayed" == refused(guard, f"Bearer {token(said)}")
    guard.check(f"Bearer {token(claims())}", URL + SERVICE)


def test_what_is_remembered_of_tokens_has_a_limit_and_says_so(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cds_token, "MOST_REMEMBERED", 10)
    first = claims(exp=int(time.time()) + 60)
    for said in (first, *(claims() for _ in range(10))):
        guard.check(f"Bearer {token(said)}", URL + SERVICE)

    assert 10 == len(guard._used)
    assert "cds_tokens_forgotten tokens=1" in caplog.text
    guard.check(f"Bearer {token(first)}", URL + SERVICE)  # the one that ends first was forgotten


def test_a_client_speaks_for_itself_and_for_its_tenants_only(keys: Path, tmp_path: Path) -> None:
    theirs = write(tmp_path / "theirs.json", jwk(OTHER, "a"))
    guard = Guard(CdsHooks(url=URL, clients=[
        CdsClient(issuer=ISSUER, jwks_file=str(keys), tenants=["general"]),
        CdsClient(issuer="https://two.example", jwks_file=str(theirs)),
    ]))  # fmt: skip

    guard.check(f"Bearer {token(claims(tenant='general'))}", URL + SERVICE)
    guard.check(f"Bearer {token(claims(iss='https://two.example'), key=OTHER)}", URL + SERVICE)
    assert "unknown_tenant" == refused(guard, f"Bearer {token(claims(tenant='other'))}")
    assert "unknown_tenant" == refused(guard, f"Bearer {token(claims(tenant=None))}")
    assert "unknown_tenant" == refused(guard, f"Bearer {token(claims(tenant=['general']))}")
    assert "unknown_issuer" == refused(guard, f"Bearer {token(key=OTHER)}")


def test_keys_that_change_are_read_again_and_a_broken_file_leaves_those_before(
    guard: Guard, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(keys, jwk(OTHER, "new"))
    assert "unknown_key" == refused(guard, f"Bearer {token()}")
    guard.check(f"Bearer {token(key=OTHER, kid='new')}", URL + SERVICE)

    keys.write_text("{")
    guard.check(f"Bearer {token(key=OTHER, kid='new')}", URL + SERVICE)
    assert "cds_keys_unusable" in caplog.text


def test_beyond_this_machine_a_record_needs_a_token_for_the_very_address(ask: Asking) -> None:
    bare = ask("POST", SERVICE, json=ASKED)
    forged = ask("POST", SERVICE, json=ASKED, headers={"authorization": f"Bearer {token(key=OTHER)}"})
    good = ask("POST", SERVICE, json=ASKED, headers={"authorization": f"Bearer {token()}"})
    listed = ask(
        "GET", "/cds-services", headers={"authorization": f"Bearer {token(claims(aud=URL + '/cds-services'))}"}
    )

    assert (401, 'Bearer realm="itbwatch"') == (bare.status_code, bare.headers["www-authenticate"])
    assert (401, {"error": REASONS["bad_signature"]}) == (forged.status_code, forged.json())
    assert 'error="invalid_token"' in forged.headers["www-authenticate"]
    assert 1 == len(good.json()["cards"])
    assert 200 == listed.status_code
    assert 401 == ask("GET", "/cds-services").status_code
    text = ask("GET", "/metrics").text
    assert 'itbwatch_cds_requests_refused_total{reason="bad_signature"} 1.0' in text
    assert 'itbwatch_cds_requests_refused_total{reason="no_token"} 2.0' in text


@pytest.mark.parametrize(
    ("peer", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403), ("testclient", 403)]
)
def test_without_clients_only_this_machine_may_ask(metrics: Metrics, peer: str, status: int) -> None:
    app = build_app(metrics, Board(Settings().identity_key()), list, hosts=["127.0.0.1"])
    client = TestClient(app, base_url="http://127.0.0.1:8480", client=(peer, 50_000))

    assert status == client.post(SERVICE, json=ASKED).status_code
    assert status == client.get("/cds-services").status_code


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("expected a JWK Set", "{"),
        ("a list of 1 to", '{"keys": []}'),
        ("a list of 1 to", "[]"),
        ("with a kid", '{"keys": [{"kty": "RSA"}]}'),
        ("private key", '{"keys": [{"kty": "EC", "kid": "a", "d": "AA"}]}'),
        ("an algorithm that fits", '{"keys": [{"kty": "oct", "kid": "a", "k": "AA"}]}'),
        ("an algorithm that fits", '{"keys": [{"kty": "EC", "crv": "P-384", "kid": "a", "alg": "HS256"}]}'),
        ("an algorithm that fits", '{"keys": [{"kty": ["RSA"], "kid": "a"}]}'),
        ("cannot be used", '{"keys": [{"kty": "EC", "crv": "P-384", "kid": "a", "x": "AA", "y": "AA"}]}'),
        ("cannot be used", '{"keys": [{"kty": "RSA", "kid": "a", "n": 5}]}'),
        ("twice", json.dumps({"keys": [jwk(P384, "a"), jwk(OTHER, "a")]})),
        ("1024 bits", json.dumps({"keys": [jwk(rsa.generate_private_key(65_537, 1_024), "a")]})),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_key_file_that_cannot_be_used_is_one_line_that_names_it(tmp_path: Path, said: str, written: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(written)

    with pytest.raises(ConfigError, match=said) as caught:
        KeyFile(str(path), "$.cds_hooks.clients[0].jwks_file")
    assert f"config.yaml $.cds_hooks.clients[0].jwks_file: {str(path)!r}" in str(caught.value)


def test_every_mistake_of_the_section_is_found_at_once(tmp_path: Path, keys: Path) -> None:
    config = tmp_path / "site.yaml"
    config.write_text(f"cds_hooks: {{url: null, clients: [{{issuer: x, jwks_file: '{keys}'}}]}}")
    assert "cds_hooks.url as well" in str(read_settings(config)[1])

    config.write_text("cds_hooks: {url: 'https://h/', clients: [{issuer: x, jwks_file: none.json}]}")
    problems = "\n".join(read_settings(config)[1])
    assert "$.cds_hooks.url: 'https://h/'" in problems

    config.write_text("cds_hooks: {url: 'https://h/base', clients: [{issuer: x, jwks_file: none.json}]}")
    assert "$.cds_hooks.clients[0].jwks_file: 'none.json': cannot be read" in str(read_settings(config)[1])
