"""Random numbers of a course: distributions written in YAML, and draws that follow one severity and one tempo.

Distributions and their grammar stand at the head of ``course_shapes.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from math import erf, exp, log, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

_NORMAL = NormalDist()
_EDGE = 1e-6  # no draw lies further out than one in a million


def generator(*parts: object) -> np.random.Generator:
    """A random generator that depends on the texts of ``parts`` alone: the same on every machine and in every process."""
    digest = blake2b("|".join(map(str, parts)).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def quantile(written: Mapping[str, Any], share: float) -> float:
    """The value of a distribution below which ``share`` (0 to 1) of its draws lie.

    Raises:
        ValueError: the mapping is no distribution of the grammar.
    """
    share = min(max(share, _EDGE), 1 - _EDGE)
    if "median" in written:
        spread = log(written["factor"])
        low, high = (
            _NORMAL.cdf(log(written[cut] / written["median"]) / spread) if cut in written else beyond
            for cut, beyond in (("at_least", 0.0), ("at_most", 1.0))
        )
        return float(written["median"]) * exp(spread * _NORMAL.inv_cdf(low + (high - low) * share))
    if "mode" in written:
        low, mode, high = (float(written[name]) for name in ("low", "mode", "high"))
        below = (mode - low) / (high - low)
        if share < below:
            return low + sqrt(share * (high - low) * (mode - low))
        return high - sqrt((1 - share) * (high - low) * (high - mode))
    if "low" in written:
        return float(written["low"] + share * (written["high"] - written["low"]))
    raise ValueError(f"{sorted(written)}: expected low and high, low, mode and high, or median and factor")


class Draws:
    """Draws of one course. ``severity`` and ``tempo`` are standard normal and drawn once.

    An amount follows the severity: further from nothing the more severe; a time follows the tempo: shorter when fast.
    """

    def __init__(self, rng: np.random.Generator, follow: Mapping[str, float]) -> None:
        self.rng = rng
        self.severity = float(rng.normal())
        self.tempo = float(rng.normal())
        self._follow = follow

    def amount(self, written: Mapping[str, Any]) -> float:
        """A draw that follows the severity. Of a range below nothing, the more severe is the lower."""
        share = self._share(self.severity, self._follow["severity"])
        falls = written.get("high", 1) <= 0
        return quantile(written, 1 - share if falls else share)

    def remaining(self, written: Mapping[str, Any]) -> float:
        """A draw of what is left (filtration, platelets): the more severe, the less."""
        return quantile(written, 1 - self._share(self.severity, self._follow["severity"]))

    def time(self, written: Mapping[str, Any]) -> float:
        """A draw in hours that follows the tempo."""
        return quantile(written, 1 - self._share(self.tempo, self._follow["tempo"]))

    def free(self, written: Mapping[str, Any]) -> float:
        """A draw that follows nothing."""
        return quantile(written, float(self.rng.random()))

    def happens(self, written: Mapping[str, Any]) -> bool:
        """Whether something with a ``chance`` (1 when left out) happens."""
        return bool(self.rng.random() < written.get("chance", 1.0))

    def _share(self, latent: float, follow: float) -> float:
        mixed = follow * latent + sqrt(1 - follow * follow) * float(self.rng.normal())
        return 0.5 * (1 + erf(mixed / sqrt(2)))
