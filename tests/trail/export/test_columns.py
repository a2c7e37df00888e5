"""The columns of an event hold the values of its document."""

from pgaudit._exact_json import parse_json
from pgaudit.trail.export.columns import as_cell, value_at

EVENT = parse_json('{"data": {"rates": [1.10, {"b": "x"}], "no": null, "yes": true, "n": 12345678901234567890}}')


def test_a_path_leads_through_objects_and_lists() -> None:
    """A cell has a text as it is and any other value as JSON, with the digits of the document."""
    assert as_cell(value_at(EVENT, ("data", "rates", "0"))) == "1.10"
    assert as_cell(value_at(EVENT, ("data", "n"))) == "12345678901234567890"
    assert as_cell(value_at(EVENT, ("data", "yes"))) == "true"
    assert as_cell(value_at(EVENT, ("data", "rates", "1", "b"))) == "x"
    assert as_cell(value_at(EVENT, ("data", "rates"))) == '[1.10, {"b": "x"}]'


def test_a_path_to_nothing_is_an_empty_cell() -> None:
    """A missing key, a position behind the end of a list, and null all are None."""
    for path in (("data", "no"), ("data", "n", "deeper"), ("data", "rates", "2"), ("nothing",), ("data", "no", "x")):
        assert as_cell(value_at(EVENT, path)) is None
