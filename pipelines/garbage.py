"""How often Python looks for garbage that refers to itself.

Patients are a few hundred small objects each, made and replaced all the time, and hold no cycle (a test watches that): what is
dropped is freed at once. At Python's own pace a third of the engine's time went into looking at 2,000 of them, and one look
at all took half a second. Cycles are those of the libraries (futures, tracebacks); they are found while young, a little
later than usual.
"""

import gc

YOUNG, MIDDLE, OLD = 50_000, 20, 100
"""Containers that stay before the young are looked at; rounds of the young before the middle, of the middle before all."""


def look_seldom() -> None:
    """For this process, from now on."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)
