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

from detector.errors import InputError, ItbwatchError
from detector.events import AckReason, Action
from pipelines.answering import MOST_HOURS, send_answer
from pipelines.settings import Settings
from pipelines.web.requests import bearer, body_of, refused
from pipelines.web.tokens import read_tokens

log = logging.getLogger(__name__)

MOST_BYTES: Final = 4_096

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

    @property
    def open(self) -> bool:
        """Whether anybody may answer."""
        return bool(self._tokens)

    def route(self) -> Route:
        return Route("/api/alerts/{alert_id}/acknowledgements", self._answer, methods=["POST"])

    async def _answer(self, request: Request) -> Response:
        if not self._tokens:
            return refused(403, READ_ONLY)
        by = self._who(bearer(request.headers.get("authorization")))
        if by is None:
            log.warning("answer_refused reason=token")
            return refused(401, NO_TOKEN, {"www-authenticate": 'Bearer realm="itbwatch"'})
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return refused(415, NOT_JSON)
        body = await body_of(request, MOST_BYTES)
        if body is None:
            return refused(413, TOO_LONG)
        try:
            answer = _ANSWERS.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            return refused(400, f"body: {error}; expected action and reason, and hours with the action snooze")
        if answer.hours is not None and answer.action != "snooze":
            return refused(400, f"hours: with the action {answer.action}; expected the action snooze")
        alert_id = request.path_params["alert_id"]
        try:
            newest = await run_in_threadpool(self._send, alert_id, answer.action, answer.reason, by, answer.hours)
        except InputError as error:
            return refused(404, str(error))
        except ItbwatchError as error:
            log.error("answer_not_sent error=%s", type(error).__name__)  # noqa: TRY400 - no traceback: it may name a patient
            return refused(503, "the answer was not taken; try again; the log of the service says why")
        return JSONResponse(
            {"alert_id": newest["alert_id"], "sent": answer.action, "by": by, "state": newest["state"]}, 202
        )

    def _who(self, token: str | None) -> str | None:
        """Whose token it is. Every token is compared, each in constant time."""
        found = None
        for mine, name in self._tokens.items():
            if token is not None and hmac.compare_digest(mine, token.encode("latin-1", "replace")):
                found = name
        return found


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
