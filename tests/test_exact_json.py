"""JSON is parsed and written with all digits of its numbers."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pgaudit._exact_json import LONGEST_INT, parse_json, to_indented_json, to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_both_forms_mean_what_the_standard_library_means(value: object) -> None:
    """On one line, JSON has the form that ``json.dumps`` gives it, and with an indent as well."""
    assert to_json(value) == json.dumps(value, ensure_ascii=False)
    assert to_indented_json(value) == json.dumps(value, ensure_ascii=False, indent=2)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_numbers_keep_their_digits(number: Decimal) -> None:
    """Neither zeros at the end nor digits beyond those of a float are lost."""
    assert to_json(parse_json(f"[{number:f}]")) == f"[{number:f}]"


def test_integers_longer_than_python_parses_keep_their_digits() -> None:
    """An event that the owner of the log has inserted may have them."""
    digits = "9" * (LONGEST_INT + 1)
    assert to_json(parse_json(digits)) == digits


def test_what_json_does_not_know_is_written_as_text() -> None:
    """A mask may return a time; neither NaN nor Infinity is JSON."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert to_json({"at": noon, "rate": float("nan")}) == '{"at": "2026-03-01 12:00:00+00:00", "rate": "nan"}'
    assert to_json([noon], lambda value: f"<{value:%H}>") == '["<12>"]'
