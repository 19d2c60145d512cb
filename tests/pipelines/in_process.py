"""The service in this process on a real file, a real store and the real detector, for tests that step it by hand."""

import json
from contextlib import contextmanager
from pathlib import Path

from pipelines.formats.canonical import encode
from pipelines.outbox import FilePublisher
from pipelines.service import Service
from pipelines.settings import Settings
from pipelines.sources.file import FileSource
from pipelines.store import Store


class Unheard:
    """Metrics and board that nobody looks at."""

    def __getattr__(self, name):
        return lambda *_values, **_named: None


def file_settings(folder, records=200, **more):
    """Settings of a service that follows ``folder``/events.ndjson, ``records`` at a time."""
    return Settings.model_validate({
        "source": "file", "time": "stream", "store": {"path": str(folder / "store.sqlite")},
        "file": {"path": str(folder / "events.ndjson"), "alerts": str(folder / "alerts.ndjson"),
                 "deadletters": str(folder / "dead.ndjson")},
        "poll": {"max_records": records, "timeout_ms": 1}, **more,
    })  # fmt: skip


@contextmanager
def serving(settings, plan, *, models=None, metrics=None, board=None, store=None, **options):
    """A service on the files that ``settings`` name; ``options`` go to it as they are."""
    store = store or Store(settings.store)
    made = Service(
        settings, plan, models or {}, store, FilePublisher(settings.file, settings.exports), metrics or Unheard(),
        board or Unheard(), lambda owner: FileSource(Path(settings.file.path), owner, settings.limits.record_bytes),
        **options,
    )  # fmt: skip
    made.store, made.metrics = store, metrics
    try:
        yield made
    finally:
        made._publisher.close()
        made._source._close_file()
        store.close()


def append(settings, *lines):
    """Events, or lines as they are, at the end of the file that is followed."""
    with Path(settings.file.path).open("ab") as file:
        file.writelines((line if isinstance(line, bytes) else encode(line)) + b"\n" for line in lines)


def drain(made):
    """Step until nothing is left."""
    while made.step():
        pass


def refresh(made):
    """One more step that sets the gauges, which are set once a second."""
    made._telling._refreshed_s = float("-inf")
    made.step()


def alert_lines(settings):
    """Every alert record that was published, as it was."""
    return [json.loads(line) for line in Path(settings.file.alerts).read_bytes().splitlines()]


def without_position(record):
    return record | {"provenance": record["provenance"] | {"position": None}}
