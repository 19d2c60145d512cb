"""How a stay is called where its identifier may not appear: on metrics, on the page, in URLs."""

from __future__ import annotations

import hashlib
import hmac

BITS = 80  # short enough for a label, long enough that no two stays of a hospital meet


def pseudonym(key: bytes, patient_id: str, stay_id: str | None) -> str:
    """The keyed pseudonym of a stay: 20 hex digits, the same as long as the site's identity key is the same.

    >>> pseudonym(b"k" * 16, "patient", "stay") == pseudonym(b"k" * 16, "patient", None)
    False
    """
    # the prefix keeps it apart from the alert ids, which the same key makes
    message = "\0".join(("stay", patient_id, stay_id or ""))
    return hmac.new(key, message.encode(), hashlib.sha256).hexdigest()[: BITS // 4]
