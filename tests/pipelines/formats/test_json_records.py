"""Bounds of JSON records."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import InputError
from pipelines.formats.json_records import _depth, check_bounds, check_identity, check_nested_keys


def deepest(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(deepest, value.values()), default=0)
    return 1 + max(map(deepest, value), default=0) if isinstance(value, list) else 0


TEXT = st.text(st.sampled_from('a"\\[]{}\n'), max_size=6)


@given(
    st.recursive(
        TEXT | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    )
)
def test_the_depth_is_that_of_the_brackets_outside_texts(value: object) -> None:
    assert deepest(value) == _depth(json.dumps(value).encode())


@pytest.mark.parametrize("text", [b"", b'"', b'"[', b"]]]", b"\\", b'["a\\"]'])
def test_what_is_no_json_has_a_depth_all_the_same(text: bytes) -> None:
    assert _depth(text) <= 1


def test_a_record_at_its_limits_is_read_and_one_beyond_is_not() -> None:
    check_bounds(b"[" * 8 + b"]" * 8, 16, 8)
    for raw, reason in ((b"[" * 9 + b"]" * 9, "oversize"), (b"[" * 9, "too_deep"), (b"\xff", "encoding")):
        with pytest.raises(InputError) as refused:
            check_bounds(raw, 16, 8)
        assert reason == refused.value.reason


def test_a_key_written_twice_is_found_at_any_depth() -> None:
    check_nested_keys(b'{"a":{"a":[{"a":1},{"a":2}]}}')
    for raw in (b'{"a":{"b":1,"b":2}}', b'[{"a":1,"\\u0061":2}]'):
        with pytest.raises(InputError) as refused:
            check_nested_keys(raw)
        assert "duplicate_key" == refused.value.reason


@pytest.mark.parametrize("patient_id", ["p" * 257, "a\0b", "a\x85b"])
def test_an_identity_that_could_not_be_stored_is_refused(patient_id: str) -> None:
    with pytest.raises(InputError) as refused:
        check_identity(patient_id)

    assert "bad_identity" == refused.value.reason
