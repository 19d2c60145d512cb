"""What a replay has done so far, kept beside its output, so that an interrupted one goes on where it stopped.

Every share of the patients is kept under a hash of all it depends on: the plan, the version, its rows and its events. So
a share that was kept under anything else is simply run again, and results cannot differ from those of a run in one go.
The folder holds patient data: it is readable by its owner only, and goes away when the results are written.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from detector.records import AlertRecord
from pipelines.burden import Exposure
from pipelines.dataset import Dataset
from pipelines.replay import Outcome


class _Part(Struct, frozen=True, array_like=True):
    """An ``Outcome`` as it is kept."""

    records: list[AlertRecord]
    stays: list[Exposure]
    counts: list[tuple[tuple[str, ...], int]]
    rejected: list[tuple[tuple[str, str], int]]
    events: int


class KeptShares:
    """The finished shares of one replay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, digest: str, share: Dataset, run: Callable[[Dataset], Outcome]) -> Outcome:
        """The outcome of a share under the plan of this digest: what is kept, or what ``run`` gives, which is then kept.

        Raises:
            OSError: it cannot be kept.
        """
        path = self.folder / f"{key_of(digest, share)}.share"
        try:
            return _read(path.read_bytes())
        except (FileNotFoundError, msgspec.MsgspecError):  # not run yet, or cut short by whatever ended the run
            outcome = run(share)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.touch(mode=0o600)
        part.write_bytes(_written(outcome))
        part.rename(path)
        return outcome

    def forget(self) -> None:
        """The results are written: nothing needs to be kept any more."""
        shutil.rmtree(self.folder, ignore_errors=True)


def kept_beside(out: Path) -> KeptShares:
    """Where the shares of a replay into this folder are kept."""
    out = out.absolute()
    return KeptShares(out.with_name(f".{out.name}.resume"))


def key_of(digest: str, share: Dataset) -> str:
    """What the outcome of a share depends on, as a hash."""
    said = hashlib.sha256()
    others = [(place, type(event).__name__, event) for place, event in share.others]
    for one in (version("itbwatch"), digest, share.files, share.outages, others):
        said.update(msgspec.msgpack.encode(one))
    said.update(share.observations.hash_rows(seed=0).to_numpy().tobytes())
    return said.hexdigest()


def _written(outcome: Outcome) -> bytes:
    return msgspec.msgpack.encode(
        _Part(
            outcome.records, outcome.stays, list(outcome.counts.items()), list(outcome.rejected.items()), outcome.events
        )
    )


def _read(raw: bytes) -> Outcome:
    part = msgspec.msgpack.decode(raw, type=_Part)
    counts: Counter[Any] = Counter(dict(part.counts))
    return Outcome(part.records, part.stays, counts, Counter(dict(part.rejected)), part.events)
