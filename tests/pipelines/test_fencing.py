"""Being refused by another worker: for a moment it passes by itself, for longer it is a second deployment."""

import pytest

from pipelines.errors import NoProgress
from pipelines.fencing import Spells


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def spells(clock):
    return Spells(10_000, lambda: clock[0])


def refused(spells, clock, *at):
    told = []
    for clock[0] in at:
        told.append(spells.refused(0))
    return told


def test_a_spell_may_last_a_session_and_another_in_which_the_group_tells_us(spells, clock):
    assert [0.0, 9.0, 18.0, 20.0] == refused(spells, clock, 100, 109, 118, 120)

    with pytest.raises(NoProgress, match="partition 0: another worker has moved it on again and again for 21 s"):
        refused(spells, clock, 121)


def test_a_session_without_a_refusal_ends_a_spell(spells, clock):
    assert [0.0, 9.0, 0.0, 9.0] == refused(spells, clock, 100, 109, 119, 128)


def test_a_partition_that_was_lost_begins_anew_and_others_have_spells_of_their_own(spells, clock):
    refused(spells, clock, 100, 109, 118)
    assert 0.0 == spells.refused(1)

    spells.lost(0)

    assert [0.0, 4.0] == refused(spells, clock, 119, 123)
