"""``itbwatch redrive`` on a file."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.commands.redrive import command
from pipelines.settings_file import load_settings
from pipelines.store import DeadLetter, Store, Work


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({
        "source": "file", "file": {"path": str(tmp_path / "events.ndjson")}, "store": {"path": str(tmp_path / "s.sqlite")},
    }))  # fmt: skip
    (tmp_path / "events.ndjson").touch()
    with closing(Store(load_settings(path).store)) as store:
        letters = [
            DeadLetter(0, "events.ndjson", 0, 0, "unknown_unit", None, None, b"whole"),
            DeadLetter(0, "events.ndjson", 0, 6, "oversize", None, None, b"cut", 300_000),
        ]
        store.commit([Work(0, {}, {"events.ndjson": 9}, deadletters=letters)])
    return path


def redrive(*words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def test_a_letter_that_was_cut_is_not_sent_and_said_in_one_line(config: Path) -> None:
    done = redrive("--config", config)

    assert "1 dead letters sent" in done.stdout
    assert "dead letter 2 (oversize): only 3 of its 300000 bytes are kept" in done.stderr
    assert 1 == (config.parent / "events.ndjson").read_text().count("\n")


def test_a_reason_that_is_none_is_told_the_nearest(config: Path) -> None:
    done = redrive("--config", config, "--reason", "unknwn_unit")

    assert 2 == done.exit_code
    assert "did you mean 'unknown_unit'?" in done.stderr
