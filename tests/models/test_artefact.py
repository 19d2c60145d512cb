"""A model file that is not what was written is refused before a byte of it is opened, in one line that says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from detector.errors import ConfigError
from models.artefact import ARRAYS, MANIFEST, TREES, _own_digest, load, parameters_digest, read_manifest
from models.bundle import FOLDER
from models.columns import column_names
from pipelines.model_files import columns_of
from pipelines.plan_files import load_plan
from pipelines.settings import Settings

COLUMNS = column_names(columns_of(load_plan(Settings()).catalogue))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "fitted"))


def refused(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, COLUMNS)
    return str(caught.value)


def written_again(folder: Path, **changes: object) -> None:
    """A manifest whose own digest fits, as somebody would write who knows how."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    manifest["digest"] = _own_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_the_shipped_artefact_is_small_and_what_its_manifest_says() -> None:
    manifest, withdrawal, joint = load(FOLDER, COLUMNS)

    assert manifest["parameters_digest"] == parameters_digest(withdrawal, joint)
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 2_000_000
    assert {MANIFEST, TREES, ARRAYS} == {file.name for file in FOLDER.iterdir()}
    assert not manifest["synthetic_backgrounds"]


@pytest.mark.parametrize("name", [TREES, ARRAYS])
def test_a_file_that_was_changed_is_refused(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])

    assert f"{name}: " in (said := refused(folder))
    assert "of the manifest; train again" in said


@pytest.mark.parametrize("name", [TREES, ARRAYS])
def test_a_file_that_is_cut_short_or_missing_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:1000])
    assert "of the manifest; train again" in refused(folder)

    (folder / name).unlink()
    assert "no such file; expected sha256" in refused(folder)


def test_a_manifest_that_was_changed_is_refused(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"seed": ', '"seed": 1'))

    assert "$.digest: does not match the manifest" in refused(folder)


@pytest.mark.parametrize(
    ("content", "line"), [("", "cannot be read"), ("[]", "$.format: None; expected 2"), ("{", "cannot be read")]
)
def test_what_is_no_manifest_is_refused(folder: Path, content: str, line: str) -> None:
    (folder / MANIFEST).write_text(content)

    assert line in refused(folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; expected the manifest that `itbwatch train` writes"):
        read_manifest(tmp_path)


def test_another_feature_set_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="columns_digest"):
        load(folder, (*COLUMNS, "height_last_6h"))


def test_another_release_of_the_library_is_refused(folder: Path) -> None:
    versions = json.loads((folder / MANIFEST).read_text())["versions"]
    written_again(folder, versions=versions | {"scikit-learn": "0.24.1"})

    assert "$.versions.scikit-learn: 0.24.1; expected" in refused(folder)


def test_a_file_that_the_format_does_not_know_is_refused(folder: Path) -> None:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    written_again(folder, files=files | {"../../etc/passwd": "0"})

    assert "unknown file; expected" in refused(folder)


def test_every_reason_is_told_at_once(folder: Path) -> None:
    (folder / TREES).unlink()
    (folder / ARRAYS).unlink()

    assert 2 == len(refused(folder).splitlines())
