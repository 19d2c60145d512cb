"""What the command line says of itself when it is used wrongly: one line, exit 2."""

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
        (["redrive", "--reason", "jsn"], "did you mean 'json'?"),
    ],
)
def test_a_usage_error_is_one_line_with_the_nearest_name_and_where_to_look(words: list[str], told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *words], capture_output=True, text=True, check=False
    )  # fmt: skip
    (line,) = done.stderr.splitlines()

    assert 2 == done.returncode
    assert told in line
    assert line.startswith("itbwatch")
    assert "--help" in line
