"""A signal that comes while a command is only starting."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "number", "code"),
    [
        (["stream"], signal.SIGTERM, 0),
        (["stream"], signal.SIGINT, 0),
        (["replay", "x.csv", "--out", "y"], signal.SIGINT, 130),
        (["replay", "x.csv", "--out", "y"], signal.SIGTERM, -signal.SIGTERM),
    ],
)
def test_a_command_that_is_starting_ends_at_once_and_without_a_word(tmp_path, words, number, code):
    config = tmp_path / "config.yaml"
    os.mkfifo(config)  # whoever reads it waits
    command = [sys.executable, "-m", "pipelines", *words, "--config", str(config)]
    starting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with config.open("wb"):  # it is there by now, and reads until this is closed
        starting.send_signal(number)
    said, _ = starting.communicate(timeout=60)

    assert (code, b"") == (starting.returncode, said.strip())


@pytest.mark.parametrize(("command", "code"), [("stream", 0), ("check", 130)])
def test_modules_that_are_still_loading_are_no_traceback(tmp_path, command, code):
    (tmp_path / "click.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", command], capture_output=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])},
    )  # fmt: skip

    assert (code, b"", b"") == (done.returncode, done.stdout, done.stderr)
