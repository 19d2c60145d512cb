"""The models of a deployment from their files."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import models
from detector.catalogue.signals import Catalogue
from detector.features import Feature
from detector.plan import Plan
from detector.scoring import NoScorer, Scorer
from models.artefact import read_manifest
from models.bundle import FOLDER, open_models
from models.columns import column_names, read_columns
from models.quarantine import Model
from pipelines.settings import Settings
from pipelines.yaml_files import read_yaml


def columns_of(catalogue: Catalogue) -> tuple[Feature, ...]:
    """The features of ``models/features.yaml``.

    Raises:
        ConfigError: with every mistake of the file.
    """
    with as_file(files(models) / "features.yaml") as path:
        return read_columns(read_yaml(path), catalogue)


def folder_of(settings: Settings) -> Path:
    """Where the models of a deployment are."""
    return Path(settings.models.folder) if settings.models.folder is not None else FOLDER


def manifest_of(settings: Settings) -> dict[str, Any]:
    """What the models of a deployment are, checked but not opened.

    Raises:
        ConfigError: as ``models.artefact.read_manifest``.
    """
    return read_manifest(folder_of(settings))


def open_each(settings: Settings, plan: Plan) -> dict[str, Model]:
    """The models that a plan was built for, by name; none where it has none.

    Raises:
        ConfigError: as ``models.bundle.open_models``.
    """
    return open_models(folder_of(settings), column_names(plan.features)).each if plan.models else {}


def open_scorer(settings: Settings, plan: Plan) -> Scorer:
    """The models that a plan was built for.

    Raises:
        ConfigError: as ``models.bundle.open_models``.
    """
    if not plan.models:
        return NoScorer()
    return open_models(folder_of(settings), column_names(plan.features))
