"""The folder of material that is not part of the repository: reference data, larger corpora."""

import os
from pathlib import Path

import pytest

from tests.plugins.required import missing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ITBWATCH_SHARED, by default ../shared beside the repository."""
    folder = Path(os.environ.get("ITBWATCH_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        missing("shared", f"there is no folder {os.path.relpath(folder, ROOT)!r} (ITBWATCH_SHARED)")
    return folder
