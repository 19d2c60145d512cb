"""A real browser, for what only a browser can say: whether a page runs a script or asks for anything."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.plugins.required import missing

NAMES = ("chromium", "chromium-browser", "google-chrome")


def _program() -> str:
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        missing("chromium", f"none of {', '.join(NAMES)} is on the PATH")
    return program


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium to open pages in and to press their buttons."""
    program = _program()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Opens a file in Chromium and gives the document as it stands afterwards."""
    program = _program()
    profile = tmp_path_factory.mktemp("chromium")

    def dom(path: Path) -> str:
        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}",
            "--dump-dom", path.absolute().as_uri(),
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return dom
