"""Which of the codes that a result carries says what it is.

LOINC, SNOMED CT and IEEE 11073 codes mean the same everywhere and are looked up in the catalogue. A code of any other
system means what its owner says: it counts only where ``code_map`` of config.yaml names it, with its system
(``http://hospital.example/lab|CK``, as FHIR writes a token) or alone, or where ``kafka.code_maps`` names it for the topic
it comes by, which goes before. So a local ``PT`` is never taken for the
catalogue's alias of the prothrombin time by accident.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from detector.catalogue.signals import UNKNOWN_SITE, Named
from detector.errors import InputError
from pipelines.formats import Site, code_of_topic

LOINC, SNOMED, IEEE_11073 = "LOINC", "SNOMED CT", "IEEE 11073"
SYSTEMS: Final[dict[str, str]] = {
    # FHIR: hl7.org/fhir/R4/terminologies-systems.html; the identifiers are those of its HL7 v3 and OID forms.
    "http://loinc.org": LOINC,
    "https://loinc.org": LOINC,
    "http://loinc.org/": LOINC,
    "urn:oid:2.16.840.1.113883.6.1": LOINC,
    "http://snomed.info/sct": SNOMED,
    "urn:oid:2.16.840.1.113883.6.96": SNOMED,
    "urn:iso:std:iso:11073:10101": IEEE_11073,
    "urn:oid:2.16.840.1.113883.6.24": IEEE_11073,
    # HL7 v2: table 0396, coding systems.
    "LN": LOINC,
    "LOINC": LOINC,
    "SCT": SNOMED,
    "SNM3": SNOMED,
    "MDC": IEEE_11073,
}
"""How feeds write the systems whose codes mean the same everywhere."""

MOST_KEPT = 8  # codings of a result that is remembered: what is remembered must be bounded
LONGEST = 256  # characters; an address of a code system may be long, a code never is

_RANK: Final = {LOINC: 0, SNOMED: 1, IEEE_11073: 1}
_LOCAL: Final = 2

Coding = tuple[str | None, str | None]
"""A code system as the feed writes it, and a code; None = it has none."""


class Codes:
    """Chooses among the codings of a result, by what the catalogue and the site's own codes know."""

    def __init__(self, site: Site) -> None:
        self._catalogue = site.catalogue
        self._own = frozenset(site.code_map)
        self._topic = site.topic
        self._chosen = lru_cache(maxsize=4096)(self._choose)  # a feed uses a few hundred

    def choose(self, codings: tuple[Coding, ...]) -> str:
        """The code that an observation with these codings is told under.

        LOINC is preferred to other standards, and those to local codes. Of several codes of a temperature the one that
        names the narrowest site counts. Where none is known the first is told with its system, which no catalogue
        knows: the observation is counted as ``unknown_code``.

        Raises:
            InputError: ``missing_key`` without any code; ``ambiguous_code`` where codes of one rank name two signals;
                ``bad_value`` for a code or system longer than any.
        """
        for system, code in codings:
            if len(system or "") > LONGEST or len(code or "") > LONGEST:
                raise InputError("bad_value", f"code: expected at most {LONGEST} characters")
        return self._chosen(codings) if len(codings) <= MOST_KEPT else self._choose(codings)

    def _choose(self, codings: tuple[Coding, ...]) -> str:
        known: list[tuple[int, str, Named]] = []
        unknown: list[tuple[int, str]] = []
        for system, code in codings:
            if not code:
                continue
            rank, written = self._written(system, code)
            named = self._catalogue.resolve_code(written)
            if named is None:
                unknown.append((rank, written))
            else:
                known.append((rank, written, named))
        if not known:
            if not unknown:
                raise InputError("missing_key", "code: expected a code")
            return min(unknown, key=lambda one: one[0])[1]
        best = min(rank for rank, _, _ in known)
        signals = {named.signal for rank, _, named in known if rank == best}
        if len(signals) > 1:
            raise InputError("ambiguous_code", f"code: names {' and '.join(sorted(signals))}; expected one signal")
        return _narrowest([(code, named) for _, code, named in known if named.signal in signals])

    def _written(self, system: str | None, code: str) -> tuple[int, str]:
        """The rank of a code, and how the catalogue would know it."""
        standard = SYSTEMS.get(system) if system else None
        if standard is not None:
            return _RANK[standard], code if _is_standard(standard, code) else f"{standard}|{code}"
        token = f"{system}|{code}" if system else code
        of_topic = [code_of_topic(self._topic, one) for one in (token, code)] if self._topic is not None else []
        for own in (*of_topic, token, code):
            if own in self._own:
                return _LOCAL, own
        return _LOCAL, f"{system or ''}|{code}"


def _is_standard(standard: str, code: str) -> bool:
    """Whether a code has the form of its system: an alias of the catalogue that a feed calls LOINC is none."""
    parts = code.split("-")
    if standard == LOINC:
        return len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts)
    return code.isascii() and code.isdigit()


def _narrowest(known: list[tuple[str, Named]]) -> str:
    """Of codes of one signal the one with the narrowest site; two places that exclude each other name none."""
    sites = {named.site for _, named in known} - {None, UNKNOWN_SITE}
    if len(sites) > 1:
        sites.discard("core")  # a rectal temperature is a core temperature too; the core is no place
    if len(sites) == 1:
        return next(code for code, named in known if named.site in sites)
    if sites:
        return known[0][1].signal  # the signal's own name: a temperature whose site is not known
    return known[0][0]
