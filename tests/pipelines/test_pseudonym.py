from pipelines.pseudonym import pseudonym

KEY = b"0123456789abcdef"


def test_a_pseudonym_is_80_bits_of_hex_and_hides_what_it_stands_for() -> None:
    name = pseudonym(KEY, "patient-7", "stay-9")

    assert 20 == len(name)
    assert set(name) <= set("0123456789abcdef")


def test_it_depends_on_the_key_the_patient_and_the_stay() -> None:
    names = {
        pseudonym(KEY, "a", "b"),
        pseudonym(KEY, "a", None),
        pseudonym(KEY, "ab", ""),
        pseudonym(b"x" * 16, "a", "b"),
    }

    assert 4 == len(names)
    assert pseudonym(KEY, "a", "b") == pseudonym(KEY, "a", "b")
