"""The rates that the demo draws."""

from pgaudit.demo.rates import sparkline


def test_a_sparkline_shows_its_highest_value_in_full() -> None:
    """Nothing is a low block; the rest is in proportion."""
    assert sparkline([0, 1, 2]) == "▁▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""
