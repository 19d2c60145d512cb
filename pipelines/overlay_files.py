"""Writing an overlay, as ``evaluate --budget`` does; what it may say is in ``detector/rules/overlay.py``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from detector.rules.overlay import ChangeWritten, Overlay


def write_overlay(path: Path, overlay: Overlay) -> None:
    """Write an overlay so that ``detector.rules.overlay.read_overlay`` gives an equal one.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text("\n".join([*_lines(overlay), ""]), encoding="utf-8")


def _lines(overlay: Overlay) -> Iterator[str]:
    yield "# Named in config.yaml as `overlay`, or given to replay, stream, evaluate, check with --overlay."
    yield _yaml({"overlay": overlay.overlay, "title": overlay.title, "because": overlay.because})
    if overlay.expected:
        yield _yaml({"expected": dict(overlay.expected)})
    yield _yaml({"changes": [_plain(change) for change in overlay.changes]})


def _plain(change: ChangeWritten) -> dict[str, Any]:
    subject = {"rule": change.rule} if change.rule is not None else {"definition": change.definition}
    return {**subject, "key": change.key, "from": change.was, "to": change.to, "because": change.because}


def _yaml(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110).rstrip()
