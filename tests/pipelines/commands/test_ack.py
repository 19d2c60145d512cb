"""``itbwatch ack`` on a file."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from detector.errors import InputError
from pipelines.commands import explain
from pipelines.commands.ack import command
from pipelines.plan_files import load_plan
from pipelines.settings_file import load_settings
from pipelines.store import Store, Work
from pipelines.technical import opened
from tests.pipelines.test_results import record


@pytest.mark.parametrize("state", ["opened", "resolved"])
def test_an_answer_is_sent_and_says_when_its_alert_is_resolved_already(tmp_path: Path, state: str) -> None:
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

    assert 0 == done.exit_code
    assert b"acknowledgement" in events.read_bytes()
    assert (state == "resolved") == ("the answer changes nothing in it" in done.stderr)


def test_an_alert_of_the_service_itself_takes_no_answer_and_has_no_inputs(tmp_path: Path) -> None:
    config, events = tmp_path / "config.yaml", tmp_path / "events.ndjson"
    config.write_text(json.dumps({
        "source": "file", "file": {"path": str(events)}, "store": {"path": str(tmp_path / "s.sqlite")},
        "models": {"enabled": False},
    }))  # fmt: skip
    events.touch()
    alert = opened(load_plan(load_settings(config)), 0, ("gap", "pumps"), 1_900_000_000_000, because="lost",
                   headline="records are lost", checks=())  # fmt: skip
    with closing(Store(load_settings(config).store)) as store:
        store.commit([Work(0, {}, {}, alerts=[alert])])
    words = [alert.alert_id, "--config", str(config)]
    with pytest.raises(InputError, match="an alert of the service itself"):
        CliRunner().invoke(
            command, [*words, "--action", "confirm", "--reason", "other", "--by", "me"], catch_exceptions=False
        )
    with pytest.raises(InputError, match="an alert of the service itself"):
        CliRunner().invoke(explain.command, [*words, "--export", str(tmp_path / "why")], catch_exceptions=False)
    told = CliRunner().invoke(explain.command, words)

    assert (b"", 0) == (events.read_bytes(), told.exit_code)
    assert "no longer kept" not in told.stdout
    assert "no input of a patient has made it" in told.stdout


def test_an_alert_that_is_none_is_told_without_what_was_typed(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"source": "file", "store": {"path": str(tmp_path / "s.sqlite")}}))
    Store(load_settings(config).store).close()
    words = ["MRN-4711", "--action", "confirm", "--reason", "other", "--by", "me", "--config", str(config)]
    with pytest.raises(InputError, match="no such alert in the store") as refused:
        CliRunner().invoke(command, words, catch_exceptions=False)

    assert "4711" not in str(refused.value)
