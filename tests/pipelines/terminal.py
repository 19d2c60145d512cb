"""A command as somebody at a terminal sees it."""

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress


def on_a_terminal(*words: object) -> tuple[int, str]:
    """The exit code, and what a terminal got to see of standard error."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pipelines", *map(str, words)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env=os.environ | {"COLUMNS": "100"}
    ) as run:
        os.close(theirs)
        seen = bytearray()
        with suppress(OSError):  # EIO: nobody holds the other end any more
            while chunk := os.read(ours, 4096):
                seen += chunk
    os.close(ours)
    return run.returncode, seen.decode()


def bars(shown: str, what: str) -> list[tuple[int, int]]:
    """Every state of a bar that was seen, as (done, total)."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    return [(int(done), int(total)) for done, total in re.findall(rf"{what} .*?([0-9]+)/([0-9]+)", plain)]
