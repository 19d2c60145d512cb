"""CDS Hooks 2.0: what an electronic record asks when a chart is opened (hook ``patient-view``).

Each open alert of the patient is a card. An answer without cards says only that no alert is open, so while the service is
not ready there is a card that says so. The patient is named in the body of the request, never in a URL.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from detector.records import AlertRecord, Evidence
from pipelines.exports import told
from pipelines.web.alert_html import DISCLAIMER
from pipelines.web.board import Board
from pipelines.web.cds_token import Guard
from pipelines.web.requests import body_of, refused

SERVICE: Final = "itb-withdrawal"
HOOK: Final = "patient-view"
INDICATORS: Final = {"critical": "critical", "warning": "warning", "watch": "info", "info": "info"}
SHOWN: Final = frozenset({"itb_withdrawal", "itb_overdose", "hyperpyrexia", "pump_status_query"})
"""Syndromes that are a card; the others are about data and about us."""

LONGEST_SUMMARY: Final = 139  # the specification: fewer than 140 characters
MOST_BYTES: Final = 1 << 20  # of a request; we ask for no prefetch, so a real one has a few hundred
DISCOVERY: Final = {
    "services": [{
        "hook": HOOK,
        "id": SERVICE,
        "title": "Intrathecal baclofen: withdrawal and its look-alikes",
        "description": "Open alerts of itbwatch for the patient, with their evidence. " + DISCLAIMER,
        "usageRequirements": "context.patientId is the patient_id of the feeds; nothing is prefetched.",
    }]
}  # fmt: skip


class _Context(Struct):
    patientId: str  # noqa: N815 - as the specification writes it


class _Request(Struct):
    hook: str
    hookInstance: str  # noqa: N815
    context: _Context


_REQUESTS: Final = msgspec.json.Decoder(_Request)


def routes(board: Board, reasons: Callable[[], Sequence[str]], guard: Guard) -> list[Route]:
    """Discovery and the service. ``reasons`` are why we are not ready; empty = we are."""

    async def discovery(request: Request) -> Response:
        return guard.refusal(request) or JSONResponse(DISCOVERY)

    async def service(request: Request) -> Response:
        if (refusal := guard.refusal(request)) is not None:
            return refusal
        body = await body_of(request, MOST_BYTES)
        if body is None:
            return refused(413, f"expected at most {MOST_BYTES} bytes")
        try:
            asked = _REQUESTS.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return refused(400, "expected a CDS Hooks request with hook, hookInstance and context.patientId")
        if asked.hook != HOOK:
            return refused(400, f"expected the hook {HOOK}")
        alerts = [one for one in board.of_patient(asked.context.patientId) if one.syndrome in SHOWN]
        missing = reasons()
        return JSONResponse({"cards": [*([_not_ready(missing)] if missing else []), *map(card, alerts)]})

    return [
        Route("/cds-services", discovery, methods=["GET"]),
        Route(f"/cds-services/{SERVICE}", service, methods=["POST"]),
    ]


def card(record: AlertRecord) -> dict[str, Any]:
    """An open alert as a card; its details are Markdown."""
    evidence = dict.fromkeys(_line(one) for one in record.evidence)
    lines = [f"**{record.severity}** {record.headline}", *evidence, *told(record), DISCLAIMER]
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:itbwatch:alert:{record.alert_id}:{record.sequence}")),
        "summary": _short(record.headline),
        "detail": "\n".join(f"- {escape(line, quote=False)}" for line in lines),
        "indicator": INDICATORS[record.severity],
        "source": {"label": "itbwatch"},
    }


def _not_ready(missing: Sequence[str]) -> dict[str, Any]:
    return {
        "summary": "itbwatch is not watching at present: no alert does not mean no danger",
        "detail": "\n".join(f"- {escape(one, quote=False)}" for one in missing),
        "indicator": "info",
        "source": {"label": "itbwatch"},
    }


def _line(one: Evidence) -> str:
    value = "" if one.value is None else f" {one.value:g} {one.unit or ''}".rstrip()
    return f"{one.signal}{value}{f' ({one.change})' if one.change else ''}, {one.effective_at}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SUMMARY else text[: LONGEST_SUMMARY - 1] + "…"
