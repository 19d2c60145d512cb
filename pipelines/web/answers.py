"""``POST /api/alerts/<alert_id>/acknowledgements``: an answer to an alert, by somebody who shows a token (RFC 6750).

Who answers is told by the token, never by the request. A token comes in the Authorization header, which no web page of
another site can make a browser send, and the body must be JSON, which no form can send: so there is nothing to forge.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from detector.errors import ConfigError, InputError, ItbwatchError
from detector.events import AckReason, Action
from pipelines.answering import MOST_HOURS, send_answer
from pipelines.settings import UNWRITABLE, Settings, read_secret

log = logging.getLogger(__name__)

MOST_BYTES: Final = 4_096
SMALLEST_TOKEN: Final = 32  # characters
WHERE: Final = "$.http.tokens_file"

READ_ONLY: Final = (
    "acknowledgements: nobody may answer over HTTP here; expected http.tokens_file in config.yaml, or itbwatch ack"
)
NO_TOKEN: Final = "Authorization: expected Bearer and a token of http.tokens_file"  # noqa: S105 - a sentence
NOT_JSON: Final = "Content-Type: expected application/json"
TOO_LONG: Final = f"body: expected at most {MOST_BYTES} bytes"

Send = Callable[[str, Action, AckReason, str, float | None], Mapping[str, Any]]
"""``answering.send_answer`` of a deployment: (alert_id, action, reason, by, hours) -> the alert as it stood."""


class _Answer(Struct, forbid_unknown_fields=True):
    action: Action
    reason: AckReason
    hours: Annotated[float, Meta(gt=0, le=MOST_HOURS)] | None = None


_ANSWERS: Final = msgspec.json.Decoder(_Answer)


class Answers:
    """The route. ``tokens`` is token -> who has it; empty = nobody may answer."""

    def __init__(self, tokens: Mapping[str, str], send: Send) -> None:
        self._tokens = {token.encode(): name for token, name in tokens.items()}
        self._send = send

    def route(self) -> Route:
        return Route("/api/alerts/{alert_id}/acknowledgements", self._answer, methods=["POST"])

    async def _answer(self, request: Request) -> Response:
        if not self._tokens:
            return _refused(403, READ_ONLY)
        by = self._who(request.headers.get("authorization", ""))
        if by is None:
            log.warning("answer_refused reason=token")
            return _refused(401, NO_TOKEN, {"www-authenticate": 'Bearer realm="itbwatch"'})
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _refused(415, NOT_JSON)
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return _refused(413, TOO_LONG)
        try:
            answer = _ANSWERS.decode(bytes(body))
        except (msgspec.DecodeError, RecursionError) as error:
            return _refused(400, f"body: {error}; expected action and reason, and hours with the action snooze")
        if answer.hours is not None and answer.action != "snooze":
            return _refused(400, f"hours: with the action {answer.action}; expected the action snooze")
        alert_id = request.path_params["alert_id"]
        try:
            newest = await run_in_threadpool(self._send, alert_id, answer.action, answer.reason, by, answer.hours)
        except InputError as error:
            return _refused(404, str(error))
        except ItbwatchError as error:
            log.error("answer_not_sent error=%s", type(error).__name__)  # noqa: TRY400 - no traceback: it may name a patient
            return _refused(503, "the answer was not taken; try again; the log of the service says why")
        return JSONResponse(
            {"alert_id": newest["alert_id"], "sent": answer.action, "by": by, "state": newest["state"]}, 202
        )

    def _who(self, header: str) -> str | None:
        """Whose token it is. Every token is compared, each in constant time."""
        scheme, _, token = header.partition(" ")
        shown = token.strip().encode("latin-1", "replace")
        found = None
        for mine, name in self._tokens.items():
            if hmac.compare_digest(mine, shown):
                found = name
        return found if scheme.lower() == "bearer" else None


NOBODY: Final = Answers({}, lambda *_: {})


def answers(settings: Settings) -> Answers:
    """The route of a deployment.

    Raises:
        ConfigError: the file of tokens cannot be used.
    """
    return Answers(
        {} if settings.http.tokens_file is None else read_tokens(settings.http.tokens_file),
        lambda *answer: send_answer(settings, *answer),
    )


def read_tokens(path: str) -> dict[str, str]:
    """Token -> name, from lines ``name: token`` of a file of mode 0600; empty lines and lines of ``#`` are passed over.

    Raises:
        ConfigError: with every line that cannot be used; no token is repeated in it.
    """
    problems, tokens = list[str](), dict[str, str]()
    try:
        lines = read_secret(path, WHERE).decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError([f"config.yaml {WHERE}: {path!r} is not UTF-8; expected lines of name: token"]) from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, token = (part.strip() for part in line.rpartition(":"))
        if not name or UNWRITABLE.search(name):
            problems.append(f"line {number}: expected name: token")
        elif len(token) < SMALLEST_TOKEN or not token.isascii() or any(map(str.isspace, token)):
            problems.append(
                f"line {number}: a token of {len(token)} characters; expected {SMALLEST_TOKEN} or more of ASCII"
            )
        elif token in tokens:
            problems.append(f"line {number}: the token of an earlier line; expected one of its own for each name")
        else:
            tokens[token] = name
    if not problems and not tokens:
        problems.append("holds no token; expected lines of name: token")
    if problems:
        raise ConfigError([f"config.yaml {WHERE}: {path!r} {problem}" for problem in problems])
    return tokens


def _refused(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": why}, status_code=status, headers=dict(headers or {}))
