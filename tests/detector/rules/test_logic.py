"""Combining questions: Kleene's strong logic, counts and points."""

import itertools

import pytest

from detector.clock import NEVER
from detector.rules.logic import All, Any, AtLeast, Not, NotKnown, Points
from detector.rules.truth import FALSE, TRUE, UNKNOWN, Cite, Found
from detector.rules.view import View


class Fixed:
    """A question with one answer."""

    needs = frozenset({"temp"})

    def __init__(self, truth: int, until: int = NEVER) -> None:
        self.found = Found(truth, until, (Cite("temp", float(until), None, 0, 0),) if truth == TRUE else ())

    def ask(self, view: View) -> Found:
        return self.found


T, U, F = Fixed(TRUE), Fixed(UNKNOWN), Fixed(FALSE)
VIEW: View = None  # type: ignore[assignment]  # no question here looks at a patient
ORDER = (FALSE, UNKNOWN, TRUE)


@pytest.mark.parametrize("truths", list(itertools.product(ORDER, repeat=3)))
def test_all_is_the_least_any_the_greatest_and_not_the_mirror(truths: tuple[int, ...]) -> None:
    terms = [Fixed(truth) for truth in truths]

    assert min(truths) == All(terms).ask(VIEW).truth
    assert max(truths) == Any(terms).ask(VIEW).truth
    assert [TRUE - truth for truth in truths] == [Not(term).ask(VIEW).truth for term in terms]


def test_an_unknown_that_cannot_change_the_answer_does_not_spoil_it() -> None:
    assert FALSE == All([U, F]).ask(VIEW).truth
    assert TRUE == Any([U, T]).ask(VIEW).truth


def test_only_what_makes_it_true_is_cited() -> None:
    one, two = Fixed(TRUE, 1), Fixed(TRUE, 2)

    assert (1.0, 2.0) == tuple(cite.value for cite in All([one, two]).ask(VIEW).cites)
    assert () == All([one, U]).ask(VIEW).cites
    assert (2.0,) == tuple(cite.value for cite in Any([U, two, F]).ask(VIEW).cites)


def test_an_answer_stands_until_the_first_of_its_parts_may_change() -> None:
    assert 3 == All([Fixed(TRUE, 5), Fixed(TRUE, 3)]).ask(VIEW).until
    assert 4 == All([Fixed(TRUE, 1), Fixed(FALSE, 4)]).ask(VIEW).until
    assert 3 == Any([Fixed(FALSE, 5), Fixed(TRUE, 3)]).ask(VIEW).until


@pytest.mark.parametrize(("term", "truth"), [(T, FALSE), (U, TRUE), (F, TRUE)])
def test_not_known_is_true_in_doubt(term: Fixed, truth: int) -> None:
    assert truth == NotKnown(term).ask(VIEW).truth


@pytest.mark.parametrize(
    ("terms", "truth"),
    [([T, T, F], TRUE), ([T, U, F], UNKNOWN), ([U, U, F], UNKNOWN), ([T, F, F], FALSE), ([U, F, F], FALSE)],
)
def test_at_least_two_of_three(terms: list[Fixed], truth: int) -> None:
    assert truth == AtLeast(2, terms).ask(VIEW).truth


def test_points_add_what_is_known_and_the_highest_of_each_group() -> None:
    score = Points("test", 5, [(1, "plt", T), (2, "plt", T), (2, "pt", T), (2, None, U), (1, None, F)])

    assert (4, 2) == score.total(VIEW)[:2]
    assert UNKNOWN == score.ask(VIEW).truth


@pytest.mark.parametrize(("at_least", "truth"), [(4, TRUE), (5, UNKNOWN), (6, UNKNOWN), (7, FALSE)])
def test_unknown_points_never_fail_a_score_that_they_could_still_reach(at_least: int, truth: int) -> None:
    assert truth == Points("test", at_least, [(4, None, T), (2, None, U), (1, None, F)]).ask(VIEW).truth
