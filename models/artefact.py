"""The fitted models as files: a manifest, the trees (numpy's own format) and the rest as JSON. Plain arrays, never a pickle.

The manifest is read first. It carries its own digest and that of every file, so nothing is opened that is not what was
written; the feature set and the versions of the libraries must be those it was fitted with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from detector.errors import ConfigError
from models.joint import JointAnomaly
from models.trees import packed, unpacked
from models.withdrawal import Fitted, Member, WithdrawalScore

FORMAT = 2
MANIFEST, TREES, ARRAYS = "manifest.json", "withdrawal.npz", "arrays.json"
LIBRARIES = ("scikit-learn", "numpy", "river")
EXACT = ("scikit-learn",)
"""Libraries that fitted what is stored: another minor release may fit something else from the same courses."""


def save(folder: Path, withdrawal: WithdrawalScore, joint: JointAnomaly, *, about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the artefact; returns its manifest. ``about``: data digests, parameters and metrics of the fit."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted = withdrawal.fitted
    np.savez_compressed(folder / TREES, allow_pickle=False, **packed([member.trees for member in fitted.members]))
    arrays = {
        "columns": list(fitted.columns),
        "members": [list(member.columns) for member in fitted.members],
        "slope": fitted.slope, "intercept": fitted.intercept,
        "needed": [list(group) for group in fitted.needed],
        "reach": [[_number(low), _number(high)] for low, high in fitted.reach],
        "joint": {
            "columns": list(joint.columns), "logarithmic": joint.logarithmic.tolist(),
            **{name: value.tolist() for name, value in joint.parameters.items()},
        },
    }  # fmt: skip
    (folder / ARRAYS).write_text(json.dumps(arrays, indent=1) + "\n")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": parameters_digest(withdrawal, joint)[:12],
        "columns_digest": columns_digest(fitted.columns),
        "parameters_digest": parameters_digest(withdrawal, joint),
        "files": {name: _sha256(folder / name) for name in (TREES, ARRAYS)},
        "versions": {name: version(name) for name in LIBRARIES},
        **about,
    }
    manifest["digest"] = _own_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, checked against itself, its files, and the libraries here.

    Raises:
        ConfigError: it is missing or was changed, a file is not the one it names, or it was fitted with another release.
    """
    path = folder / MANIFEST
    try:
        read: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; expected the manifest that `itbwatch train` writes"]) from None
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read ({type(error).__name__}); expected JSON; train again"]) from None
    manifest: dict[str, Any] = read if isinstance(read, dict) else {}
    if manifest.get("format") != FORMAT:
        found: object = manifest.get("format")
        raise ConfigError([f"{path} $.format: {found!r}; expected {FORMAT}; train again"])
    problems = []
    if manifest.get("digest") != _own_digest(manifest):
        problems.append(f"{path} $.digest: does not match the manifest; expected it as it was written; train again")
    for name, expected in dict(manifest.get("files") or {}).items():
        if name not in (TREES, ARRAYS):
            problems.append(f"{path} $.files.{name}: unknown file; expected {TREES} and {ARRAYS}")
            continue
        file = folder / name
        here = _sha256(file) if file.is_file() else "no such file"
        if here != expected:
            problems.append(f"{file}: {here[:12]}; expected sha256 {expected[:12]} of the manifest; train again")
    for name in EXACT:
        written, installed = str((manifest.get("versions") or {}).get(name)), version(name)
        if written.split(".")[:2] != installed.split(".")[:2]:
            problems.append(
                f"{path} $.versions.{name}: {written}; expected {installed}, which is installed; train again"
            )
    if problems:
        raise ConfigError(problems)
    return manifest


def load(folder: Path, columns: tuple[str, ...]) -> tuple[dict[str, Any], WithdrawalScore, JointAnomaly]:
    """The manifest and the models.

    Raises:
        ConfigError: as :func:`read_manifest`, or the models were fitted on other columns.
    """
    manifest = read_manifest(folder)
    if manifest["columns_digest"] != columns_digest(columns):
        raise ConfigError([
            (f"{folder / MANIFEST} $.columns_digest: {manifest['columns_digest'][:12]}; expected "
            f"{columns_digest(columns)[:12]}, that of models/features.yaml; train again")
        ])  # fmt: skip
    arrays = json.loads((folder / ARRAYS).read_bytes())
    with np.load(folder / TREES, allow_pickle=False) as read:
        classifiers = unpacked(read)
    fitted = Fitted(
        tuple(arrays["columns"]),
        tuple(Member(tuple(mine), trees) for mine, trees in zip(arrays["members"], classifiers, strict=True)),
        arrays["slope"], arrays["intercept"],
        tuple(tuple(group) for group in arrays["needed"]),
        tuple((_limit(low, -np.inf), _limit(high, np.inf)) for low, high in arrays["reach"]),
    )  # fmt: skip
    joint = JointAnomaly(arrays["joint"]["columns"], arrays["joint"]["logarithmic"], arrays["joint"])
    return manifest, WithdrawalScore(fitted), joint


def columns_digest(columns: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(columns).encode()).hexdigest()


def parameters_digest(withdrawal: WithdrawalScore, joint: JointAnomaly) -> str:
    """Of every number that was fitted, rounded so that equal fits are equal wherever they were made."""
    digest = hashlib.sha256()
    fitted = withdrawal.fitted
    for member in fitted.members:
        digest.update(json.dumps(member.columns).encode())
        for tree in member.trees.each():
            for whole in (tree.feature, tree.left, tree.right, tree.missing_left, tree.leaf):
                digest.update(whole.astype("<i8").tobytes())
            for number in (tree.value, tree.threshold):
                digest.update(np.round(number, 9).astype("<f8").tobytes())
    numbers = [fitted.slope, fitted.intercept, *joint.center, *joint.scale, *joint.correlation.ravel()]
    digest.update(json.dumps([round(float(number), 9) for number in numbers]).encode())
    return digest.hexdigest()


def _own_digest(manifest: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _limit(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else float(value)
