"""What systemd is told, on a real socket of its protocol."""

import socket
from functools import partial

import pytest

from pipelines.supervisor import Supervisor
from tests.supervisor_socket import heard


@pytest.fixture(params=["path", "abstract"])
def told(request, tmp_path):
    """(NOTIFY_SOCKET, what came)."""
    address = str(tmp_path / "n") if request.param == "path" else f"@itbwatch-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + address[1:] if address.startswith("@") else address)
        end.setblocking(False)

        yield address, partial(heard, end)


def test_the_first_sign_of_life_says_ready_and_each_feeds_the_watchdog(told):
    address, came = told
    supervisor = Supervisor(address)
    supervisor.alive()
    supervisor.alive()

    assert ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] == came()


def test_ready_is_told_once_and_feeds_nothing(told):
    address, came = told
    supervisor = Supervisor(address)
    supervisor.ready()
    supervisor.ready()

    assert ["READY=1"] == came()


def test_a_service_that_nobody_started_so_tells_nobody(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    supervisor = Supervisor.of_environment()
    supervisor.alive()

    assert not supervisor.watched


def test_a_socket_that_is_gone_stops_nothing_and_is_logged_once(tmp_path, caplog):
    supervisor = Supervisor(str(tmp_path / "gone"))
    supervisor.alive()
    supervisor.alive()

    assert ["supervisor_unheard error=FileNotFoundError effect='it is not told that we work'"] == caplog.messages
