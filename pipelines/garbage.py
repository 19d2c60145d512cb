"""How often Python looks for garbage that refers to itself.

Patients are a few hundred small objects each, made and replaced all the time, and hold no cycle: what is dropped is freed
at once. Python's own pace looks at all of them after every few hundred new ones that stay, which took a third of the
engine's time with 2,000 patients, and stands still for a second now and then. Cycles are those of the libraries (futures,
tracebacks); they are found while young, a little later than usual.
"""

import gc

YOUNG, MIDDLE, OLD = 50_000, 20, 100
"""Containers that stay before the young are looked at; rounds of the young before the middle, of the middle before all."""


def look_seldom() -> None:
    """For this process, from now on."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)
