"""Who may ask the CDS Hooks service: the token that an electronic record sends with every request.

CDS Hooks 2.0, "Trusting CDS Clients": a JWT, signed with a private key of the client, that names its issuer (``iss``), the
address that is asked (``aud``), when it was made and when it ends (``iat``, ``exp``) and itself (``jti``, against replays).
Public keys come as a JWK Set out of band, in a file: nothing is ever fetched, so ``jku`` is not read. Unsigned tokens and
shared secrets are refused, as there.

PyJWT is imported where a client is configured: with cryptography it takes a tenth of a second to load.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from detector.errors import ConfigError
from pipelines.settings import CdsHooks, is_loopback
from pipelines.web.requests import bearer, refused

log = logging.getLogger(__name__)

REASONS: Final = {
    "not_loopback": "no client is configured, so only this machine may ask; expected cds_hooks.clients in config.yaml",
    "no_token": "expected Authorization: Bearer and a JWT",
    "bad_token": "expected a JWT with kid and typ in its header, and iss, aud, exp, iat and jti",
    "unknown_key": "no client has this kid",
    "bad_signature": "not signed with the key and an algorithm of that kid",
    "unknown_issuer": "iss is not that of the client whose key it is",
    "unknown_tenant": "tenant is none of the client's",
    "wrong_audience": "aud is not the address that was asked",
    "expired": "exp is over, or iat lies ahead; look at both clocks",
    "too_long": "valid for longer than an hour",
    "replayed": "this jti was used already",
}
"""Why a request is refused: values of a metric label, and what the record is told."""

LEEWAY_S: Final = 30  # between two clocks
LONGEST_S: Final = 3_600  # from iat to exp: until then a token is remembered
MOST_REMEMBERED: Final = 20_000  # charts opened in the life of a token; beyond it the ones that end first are forgotten
MOST_KEYS: Final = 100
SMALLEST_RSA: Final = 2_048  # bits (RFC 7518, section 3.3)

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ALGORITHMS: Final = {
    ("RSA", None): _RSA, ("EC", "P-256"): ("ES256",), ("EC", "P-384"): ("ES384",), ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",), ("OKP", "Ed448"): ("EdDSA",),
}  # fmt: skip
_CLAIMS: Final = ["iss", "aud", "exp", "iat", "jti"]


class Refused(Exception):
    """A token that is not taken; ``reason`` is one of ``REASONS``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Key(NamedTuple):
    public: Any
    algorithms: Sequence[str]


class KeyFile:
    """The public keys of one client, read again when their file changes."""

    def __init__(self, path: str, where: str) -> None:
        """
        Raises:
            ConfigError: the file is no JWK Set of public keys; ``where`` is the key of config.yaml that names it.
        """
        self._path, self._where = Path(path), where
        self._stamp = self._stamped()
        self._keys = self._read()

    def get(self, kid: str) -> _Key | None:
        """The key of that id. A changed file that cannot be used leaves the keys as they were, with a line in the log."""
        if (stamp := self._stamped()) != self._stamp:
            self._stamp = stamp
            try:
                self._keys = self._read()
                log.info("cds_keys_read file=%r keys=%d", self._path.name, len(self._keys))
            except ConfigError as error:
                log.error("cds_keys_unusable problem=%r effect='the keys before stay'", str(error))  # noqa: TRY400
        return self._keys.get(kid)

    def _stamped(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    def _read(self) -> dict[str, _Key]:
        try:
            read = json.loads(self._path.read_bytes())
        except OSError as error:
            raise self._wrong(f"cannot be read ({error.strerror}); expected a JWK Set") from error
        except (ValueError, RecursionError) as error:
            raise self._wrong("is no JSON; expected a JWK Set") from error
        listed = read.get("keys") if isinstance(read, dict) else None
        if not isinstance(listed, list) or not 0 < len(listed) <= MOST_KEYS:
            raise self._wrong(f"expected an object whose keys are a list of 1 to {MOST_KEYS}")
        keys: dict[str, _Key] = {}
        for number, one in enumerate(listed):
            kid, key = self._key(one, number)
            if kid in keys:
                raise self._wrong(f"keys[{number}]: kid is there twice; expected a kid for each key")
            keys[kid] = key
        return keys

    def _key(self, one: Any, number: int) -> tuple[str, _Key]:
        import jwt

        if not isinstance(one, dict) or not isinstance(one.get("kid"), str):
            raise self._wrong(f"keys[{number}]: expected a key with a kid")
        if "d" in one:
            raise self._wrong(f"keys[{number}]: is a private key; expected its public part only")
        kind = str(one.get("kty")), None if one.get("kty") == "RSA" else str(one.get("crv"))
        algorithms = _ALGORITHMS.get(kind)
        if algorithms is not None and "alg" in one:
            algorithms = tuple(name for name in algorithms if name == one["alg"])
        if not algorithms:
            raise self._wrong(f"keys[{number}]: expected an RSA, EC or OKP key with an algorithm that fits it")
        try:
            public = jwt.PyJWK(one, algorithms[0]).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise self._wrong(f"keys[{number}]: cannot be used ({type(error).__name__})") from error
        if kind[0] == "RSA" and public.key_size < SMALLEST_RSA:
            raise self._wrong(f"keys[{number}]: has {public.key_size} bits; expected {SMALLEST_RSA} or more")
        return one["kid"], _Key(public, algorithms)

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError([f"config.yaml {self._where}: {str(self._path)!r}: {problem}"])


class Guard:
    """Answers a request that may not be made. Without clients only this machine may ask.

    A token is taken once, as far as this process remembers: it forgets at a restart, and beyond ``MOST_REMEMBERED``.
    """

    def __init__(self, settings: CdsHooks, refused: Callable[[str], object] = lambda _: None) -> None:
        """
        Args:
            settings: the clients and the address of the service.
            refused: counts a refusal under one of ``REASONS``.

        Raises:
            ConfigError: a key file cannot be used.
        """
        self._url, self._told = settings.url, refused
        self._clients = [
            (client, KeyFile(client.jwks_file, f"$.cds_hooks.clients[{number}].jwks_file"))
            for number, client in enumerate(settings.clients)
        ]
        self._used: dict[bytes, int] = {}

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request that is refused: 401, or 403 beyond this machine without clients. None = go on."""
        try:
            if self._clients:
                self.check(request.headers.get("authorization"), f"{self._url}{request.url.path}")
            elif request.client is None or not is_loopback(request.client.host):
                raise Refused("not_loopback")
        except Refused as error:
            self._told(error.reason)
            why = REASONS[error.reason]
            if error.reason == "not_loopback":
                return refused(403, why)
            said = "" if error.reason == "no_token" else f', error="invalid_token", error_description="{why}"'
            header = {"www-authenticate": f'Bearer realm="itbwatch"{said}'}  # RFC 6750, section 3
            return refused(401, why, header)
        return None

    def check(self, authorization: str | None, audience: str) -> None:
        """
        Raises:
            Refused: the header holds no token that is good for this address, now, and for the first time.
        """
        token = bearer(authorization)
        if token is None:
            raise Refused("no_token")
        claims = self._claims(token, audience)
        if claims["exp"] - claims["iat"] > LONGEST_S:
            raise Refused("too_long")
        self._first_time(claims)

    def _claims(self, token: str, audience: str) -> dict[str, Any]:
        import jwt

        try:
            header = jwt.get_unverified_header(token)
            kid, kind = header.get("kid"), header.get("typ")
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise Refused("bad_token") from error
        if not isinstance(kid, str) or not isinstance(kind, str) or kind.upper() != "JWT":
            raise Refused("bad_token")
        why = "unknown_key"
        for client, keys in self._clients:
            key = keys.get(kid)
            if key is None:
                continue
            try:
                claims: dict[str, Any] = jwt.decode(
                    token, key.public, list(key.algorithms), {"require": _CLAIMS}, audience=audience,
                    issuer=client.issuer, leeway=LEEWAY_S,
                )  # fmt: skip
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
                if why in ("unknown_key", "bad_signature"):  # of two clients the one that signed it is told
                    why = _reason(error)
                continue
            if client.tenants and claims.get("tenant") not in client.tenants:
                why = "unknown_tenant"
                continue
            if not all(type(claims[name]) in (int, float) for name in ("exp", "iat")):
                raise Refused("bad_token")
            return claims
        raise Refused(why)

    def _first_time(self, claims: dict[str, Any]) -> None:
        named = hashlib.blake2b(json.dumps([claims["iss"], claims["jti"]]).encode(), digest_size=16).digest()
        now = int(time.time())
        if self._used.get(named, 0) >= now:
            raise Refused("replayed")
        if len(self._used) >= MOST_REMEMBERED:
            self._used = {one: until for one, until in self._used.items() if until >= now}
        if len(self._used) >= MOST_REMEMBERED:
            soonest = sorted(self._used, key=self._used.__getitem__)[: MOST_REMEMBERED // 10]
            for one in soonest:
                del self._used[one]
            log.warning("cds_tokens_forgotten tokens=%d effect='these could be replayed until they end'", len(soonest))
        self._used[named] = int(claims["exp"]) + LEEWAY_S


def _reason(error: Exception) -> str:
    import jwt

    reasons: dict[Any, str] = {
        jwt.InvalidSignatureError: "bad_signature", jwt.InvalidAlgorithmError: "bad_signature",
        jwt.InvalidKeyError: "bad_signature", jwt.InvalidIssuerError: "unknown_issuer",
        jwt.InvalidAudienceError: "wrong_audience", jwt.ExpiredSignatureError: "expired",
        jwt.ImmatureSignatureError: "expired",
    }  # fmt: skip
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), "bad_token")
