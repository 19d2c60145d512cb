import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

WITHIN_S = 45  # the published case is critical on page and metrics by then, at the speed that users get


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "pipelines", "demo", "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield running
    running.kill()
    running.communicate()


def url_of(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/", running.stdout.readline())
    assert found is not None
    return found[0]


def test_the_published_case_becomes_critical_on_the_page_and_in_the_metrics(demo: subprocess.Popen[str]) -> None:
    begun = time.monotonic()
    url = url_of(demo)
    critical = re.compile(r'itbwatch_alert_active\{severity="critical",stay="[0-9a-f]{20}",syndrome="itb_withdrawal"')
    while not critical.search(httpx.get(url + "metrics").text) and time.monotonic() - begun < WITHIN_S:
        time.sleep(0.5)

    assert critical.search(httpx.get(url + "metrics").text)
    page = httpx.get(url).text
    assert "Pattern compatible with baclofen withdrawal, critical" in page
    assert "Synthetic patients" in page
    assert 200 == httpx.get(url + "readyz").status_code

    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=10)
    assert (0, "") == (demo.returncode, errors)


def test_sigterm_ends_it_cleanly_and_so_does_its_time(demo: subprocess.Popen[str]) -> None:
    url_of(demo)
    demo.send_signal(signal.SIGTERM)
    _, errors = demo.communicate(timeout=10)
    assert (0, "") == (demo.returncode, errors)

    timed = subprocess.run(
        [sys.executable, "-m", "pipelines", "demo", "--port", "0", "--for", "1"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (0, "") == (timed.returncode, timed.stderr)


def test_a_port_that_is_taken_is_refused_by_name(demo: subprocess.Popen[str]) -> None:
    port = url_of(demo).rstrip("/").rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "pipelines", "demo", "--port", port],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert 74 == second.returncode
    assert f"127.0.0.1:{port} cannot be served" in second.stderr
