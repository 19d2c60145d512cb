"""What the command line says of itself when it is used wrongly: one line, exit 2."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["replya"], "did you mean 'replay'?"),
        (["replay", "x.csv", "--otu", "y"], "--out"),
        (["replay", "x.csv", "--out", "y", "--format", "canonicla"], "did you mean 'canonical'?"),
        (["replay", "x.csv"], "Missing option '--out'"),
        (["ack", "x", "--action", "acknowlege", "--reason", "other", "--by", "me"], "did you mean 'acknowledge'?"),
        (["ack", "x", "--action", "confirm", "--reason", "other", "--by", " "], "--by: is empty; expected who answers"),
        (["ack", "\udcff", "--action", "confirm", "--reason", "other", "--by", "me"], "a text in UTF-8"),
        (["ack", "x", "--action", "confirm", "--reason", "other", "--by", "me\udcff"], "a text in UTF-8"),
        (["explain", "a\nb"], "without control characters"),
        (["audit", "verfy"], "did you mean 'verify'?"),
        (["demo", "--speed", "nan"], "nan is not in the range"),
        (["demo", "--for", "inf"], "inf is not in the range"),
        (["ack", "x", "--hours", "nan"], "nan is not in the range"),
        (["redrive", "--reason", "jsn"], "did you mean 'json'?"),
    ],
)
def test_a_usage_error_is_one_line_with_the_nearest_name_and_where_to_look(words: list[str], told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *words], capture_output=True, text=True, check=False
    )  # fmt: skip
    (line,) = done.stderr.splitlines()

    assert 2 == done.returncode
    assert 1 == line.lower().count(told.lower())
    assert line.startswith("itbwatch")
    assert "--help" in line


def test_a_reader_that_leaves_ends_a_command_with_74_and_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines", "check"], stdout=nobody, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (74, "") == (done.returncode, done.stderr)
