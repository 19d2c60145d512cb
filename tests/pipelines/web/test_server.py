"""Who dawdles or reads nothing takes neither a place nor memory of others."""

import socket
import subprocess
import sys
import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pipelines.web import requests, server
from pipelines.web.requests import body_of
from pipelines.web.server import WebServer


async def taken(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(await body_of(request, 100)))


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.5)
    monkeypatch.setattr(requests, "BODY_WITHIN_S", 0.5)
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 8)
    with WebServer(Starlette(routes=[Route("/", taken, methods=["GET", "POST"])]), "127.0.0.1", 0) as web:
        yield web


def said(connection):
    """What comes until the other side closes."""
    connection.settimeout(10)
    parts = []
    while part := connection.recv(4096):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "begun", [b"", b"G", b"GET / HTTP/1.1\r\nhost: a\r\n", b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /"]
)
def test_a_connection_that_does_not_say_what_it_wants_is_ended(web, begun):
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        connection.sendall(begun)
        began = time.monotonic()
        answer = said(connection)

    assert 0.4 < time.monotonic() - began < 8  # uvicorn itself waits 5 s for another request
    assert answer.count(b"HTTP/1.1 200") == begun.count(b"\r\n\r\n")


def test_dawdling_a_byte_at_a_time_does_not_help(web):
    with socket.create_connection(("127.0.0.1", web.port)) as connection, pytest.raises(OSError):  # noqa: PT012 - whichever byte
        for byte in b"GET / HTTP/1.1\r\n" + b"a" * 1_000:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)


def test_connections_that_dawdle_keep_others_out_only_until_they_are_ended(web):
    dawdlers = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(8)]
    refused = httpx.get(web.url).status_code
    until = time.monotonic() + 10
    while httpx.get(web.url).status_code != 200 and time.monotonic() < until:
        time.sleep(0.05)
    answered = httpx.get(web.url).status_code
    for one in dawdlers:
        one.close()

    assert (503, 200) == (refused, answered)


def test_a_request_that_takes_its_time_is_not_ended(web):
    """Only its head must come in time; the answer is as long as it is, as of server-sent events."""
    with httpx.Client() as client:
        assert [200, 200] == [client.get(web.url).status_code, client.get(web.url).status_code]


def test_a_body_that_does_not_come_is_given_up(web):
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\nconnection: close\r\n\r\nhalf")
        assert said(connection).endswith(b"None")


def test_boards_leave_files_for_the_rest_of_the_service():
    """In a process of its own, because a limit that was lowered stays."""
    script = (
        "import resource; from pipelines.web.server import _room;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 1_000)); few = _room();"
        "print(few, resource.getrlimit(resource.RLIMIT_NOFILE)[0]);"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert ["500", "1000"] == said
