"""All models of a deployment behind the one port: the engine sees one scorer and one learner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detector.scoring import FeatureRow, Scores
from models import joint, withdrawal
from models.artefact import load
from models.joint import JointAnomaly
from models.personal import PersonalBaseline
from models.quarantine import Model
from models.withdrawal import WithdrawalScore

FOLDER = Path(__file__).parent / "fitted"
"""The artefact that is shipped: a fresh clone scores without training."""


class Models(NamedTuple):
    """The scorers of one artefact. ``manifest`` says what they are."""

    manifest: dict[str, Any]
    withdrawal: WithdrawalScore
    joint: JointAnomaly

    @property
    def each(self) -> dict[str, Model]:
        """Every model by the name that rules use."""
        return {withdrawal.NAME: self.withdrawal, joint.NAME: self.joint}

    def score(self, rows: Sequence[FeatureRow]) -> list[Scores]:
        """One answer a model and row; every model is called once for all rows."""
        return [
            {withdrawal.NAME: one, joint.NAME: other}
            for one, other in zip(self.withdrawal.score(rows), self.joint.score(rows), strict=True)
        ]


def names_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Model -> version, for provenance."""
    made = str(manifest["version"])
    return {joint.NAME: made, "personal": PersonalBaseline.version, withdrawal.NAME: made}


def open_models(folder: Path, columns: tuple[str, ...]) -> Models:
    """Read an artefact.

    Raises:
        ConfigError: it is missing, changed, or does not fit this program; every reason is named.
    """
    return Models(*load(folder, columns))
