"""The programs of Prometheus and Alertmanager, as the distribution's packages install them."""

import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.plugins.required import missing

Tool = Callable[..., str]


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        missing("prometheus", f"{name} is not on the PATH (Debian's package {package})")
    return found


def _tool(program: str) -> Tool:
    def run(*words: object) -> str:
        """What it said; it must succeed."""
        done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, check=False, timeout=240)

        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def promtool() -> Tool:
    """`promtool(*words)`: what it said."""
    return _tool(_program("promtool", "prometheus"))


@pytest.fixture(scope="session")
def amtool() -> Tool:
    """`amtool(*words)`: what it said."""
    return _tool(_program("amtool", "prometheus-alertmanager"))
