"""Who may look: anybody who reaches a loopback address; beyond it, who shows a token or comes through a proxy that has asked.

A browser is asked for a name and a password (RFC 7617) and sends them with everything that it asks of us from then on; the
password is a token, the name is not looked at. Programs send the token itself (RFC 6750). A proxy that has asked somebody
who they are (OpenID Connect) says so in a header, which is believed of the addresses in ``http.proxies`` and of no other.

Nobody is asked for probes and metrics, which Kubernetes and Prometheus read and which hold no identifier, nor where a route
asks by itself: answers to alerts and CDS Hooks.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import logging
from collections.abc import Collection, Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.settings import Http, is_loopback
from pipelines.web.requests import bearer, refused
from pipelines.web.tokens import read_tokens

log = logging.getLogger(__name__)

PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
THEIR_OWN: Final = "/cds-services"

NOT_KNOWN: Final = (
    "Authorization: expected a token of http.readers_file or http.tokens_file, as the password of any name or as Bearer"
)
ASK: Final = {"www-authenticate": 'Basic realm="itbwatch", charset="UTF-8"'}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Readers:
    """Who may look. ``tokens`` None = everybody; ``user_header`` is what a proxy of ``proxies`` names somebody in."""

    def __init__(
        self, tokens: Collection[str] | None = None, proxies: Sequence[Network] = (), user_header: str = ""
    ) -> None:
        self._tokens = None if tokens is None else [token.encode() for token in tokens]
        self._proxies, self._user_header = proxies, user_header

    @property
    def everybody(self) -> bool:
        return self._tokens is None

    def may_look(self, peer: str, headers: Headers) -> bool:
        """Whether a request from the address ``peer`` may be answered."""
        if self._tokens is None or self._by_proxy(peer, headers):
            return True
        return self._known(_shown(headers.get("authorization")))

    def _by_proxy(self, peer: str, headers: Headers) -> bool:
        if not self._proxies or not headers.get(self._user_header, "").strip():
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._proxies)

    def _known(self, token: str | None) -> bool:
        """Whether it is one of ours. Every token is compared, each in constant time."""
        if token is None or self._tokens is None:
            return False
        given, known = token.encode("utf-8", "replace"), False
        for mine in self._tokens:
            known |= hmac.compare_digest(mine, given)
        if not known:
            log.warning("reader_refused reason=token")
        return known


EVERYBODY: Final = Readers()


def readers(http: Http) -> Readers:
    """Who may look at a deployment: everybody on loopback, unless the settings name somebody.

    Raises:
        ConfigError: a file of tokens cannot be used.
    """
    if is_loopback(http.host) and http.readers_file is None and not http.proxies:
        return EVERYBODY
    tokens = set[str]()
    for name, path in (("readers_file", http.readers_file), ("tokens_file", http.tokens_file)):
        if path is not None:
            tokens |= read_tokens(path, f"$.http.{name}").keys()
    return Readers(sorted(tokens), [ipaddress.ip_network(one) for one in http.proxies], http.proxy_user_header)


class AskReaders:
    """Answers 401 to who may not look."""

    def __init__(self, app: ASGIApp, readers: Readers) -> None:
        self._app, self._readers = app, readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._open(scope["method"], scope["path"]):
            peer = (scope.get("client") or ("", 0))[0]
            if not self._readers.may_look(peer, Headers(scope=scope)):
                await refused(401, NOT_KNOWN, ASK)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    @staticmethod
    def _open(method: str, path: str) -> bool:
        if path in PROBES or path == THEIR_OWN or path.startswith(f"{THEIR_OWN}/"):
            return True
        return method == "POST" and path.startswith("/api/alerts/") and path.endswith("/acknowledgements")


def _shown(authorization: str | None) -> str | None:
    """The token of an Authorization header, Bearer or Basic. None = it has none that can be read."""
    scheme, _, rest = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return bearer(authorization)
    try:
        _, colon, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return password if colon else None
