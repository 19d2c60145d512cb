"""What every route that takes something does with a request: its token, its body, and the answer that refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse

BODY_WITHIN_S: Final = 10


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header (RFC 6750, section 2.1). None = it has none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def body_of(request: Request, most_bytes: int) -> bytes | None:
    """The body; None = it is longer than ``most_bytes`` or takes too long, and was not read to its end."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    return None
    except TimeoutError:
        return None
    return bytes(body)


def refused(status: int, why: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """``why`` names fields and what was expected, never what was sent."""
    return JSONResponse({"error": why}, status_code=status, headers=dict(headers or {}))
