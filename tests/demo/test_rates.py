"""The rates that the demo draws."""

from pgaudit.demo.rates import sparkline


def test_a_sparkline_shows_its_highest_value_in_full() -> None:
    """Zero is the lowest block, the highest value the full one."""
    assert sparkline([0, 1, 2]) == "▁▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""
