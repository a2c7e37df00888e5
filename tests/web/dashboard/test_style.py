"""The style sheet: enough contrast in both schemes, and every class that its first comment promises."""

import re
from itertools import product

import pytest

from pgaudit.web.dashboard.assets import ASSETS

CSS = ASSETS.content("dashboard.css").decode()
COMMENT = CSS.partition("*/")[0]
TOKEN = re.compile(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)")
COLOURS = {name: (light, dark) for name, light, dark in TOKEN.findall(CSS)}
# WCAG 2.2: 4.5 for text, 3 for what shows the bounds of a control or the focus.
TEXT = [
    *product(("text", "muted", "accent", "ok", "warn", "bad"), ("background", "surface", "raised")),
    *product(("text", "accent", "muted"), ("accent-soft",)),
    *((name, f"{name}-soft") for name in ("ok", "warn", "bad", "info")),
    *(("text", f"{name}-soft") for name in ("ok", "warn", "bad", "info")),
    *product(("series-1", "series-2", "series-3", "series-4"), ("surface", "raised")),
    ("on-accent", "accent"),
]
BOUNDS = [*product(("control", "accent"), ("background", "surface"))]


def luminance(colour: str) -> float:
    """Returns the relative luminance of a colour such as "#1a2130"."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Returns the contrast of two colours, from 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_controls_have_enough_contrast(scheme: int) -> None:
    """AA in both schemes, for each pair that the classes put together."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    found = {
        (front, back, least): contrast(COLOURS[front][scheme], COLOURS[back][scheme])
        for pairs, least in ((TEXT, 4.5), (BOUNDS, 3.0))
        for front, back in pairs
    }
    assert {pair: ratio for pair, ratio in found.items() if ratio < pair[2]} == {}


def test_every_class_of_the_comment_exists() -> None:
    """Pages are made of the classes that the comment lists."""
    rules = CSS[len(COMMENT) :]
    missing = {name for name in re.findall(r"\.([a-z]+(?:-[a-z0-9]+)*)", COMMENT) if f".{name}" not in rules}
    assert missing == set()
