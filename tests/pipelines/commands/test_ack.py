"""``itbwatch ack`` on a file."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from detector.errors import InputError
from pipelines.commands.ack import command
from pipelines.settings_file import load_settings
from pipelines.store import Store, Work
from tests.pipelines.test_results import record


@pytest.mark.parametrize("state", ["opened", "resolved"])
def test_an_open_alert_takes_an_answer_and_a_resolved_one_does_not(tmp_path: Path, state: str) -> None:
    config, events = tmp_path / "config.yaml", tmp_path / "events.ndjson"
    config.write_text(json.dumps({
        "source": "file", "time": "stream", "file": {"path": str(events)}, "store": {"path": str(tmp_path / "s.sqlite")},
    }))  # fmt: skip
    events.touch()
    alert = replace(record(), state=state)
    with closing(Store(load_settings(config).store)) as store:
        store.commit([Work(0, {}, {}, alerts=[alert])])
    words = [alert.alert_id, "--action", "confirm", "--reason", "other", "--by", "me", "--config", str(config)]
    done = CliRunner().invoke(command, words)

    assert (state == "opened") == (b"acknowledgement" in events.read_bytes())
    if state == "resolved":
        assert isinstance(done.exception, InputError)
        assert "expected an open alert" in str(done.exception)
