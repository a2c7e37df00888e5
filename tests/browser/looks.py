"""How a page looks: light and dark, wide and narrow, with large text."""

from typing import Final

from tests.browser.tab import Tab

LARGE_TEXT: Final = "document.documentElement.style.fontSize = '200%'"


def check_each_look(tab: Tab) -> None:
    """Fails on what axe-core finds, and on a page that is wider than its window."""
    found: dict[str, object] = {}
    for width in (1280, 360):
        tab.page.set_viewport_size({"width": width, "height": 800})
        tab.page.emulate_media(color_scheme="light")
        found[f"light {width}"] = tab.violations() or tab.overflow()
        tab.page.emulate_media(color_scheme="dark")  # other colours, and nothing else
        found[f"dark {width}"] = tab.violations("color-contrast")
    tab.page.set_viewport_size({"width": 640, "height": 400})  # 1,280 by 800 pixels at 200 %
    found["zoom"] = tab.overflow()
    tab.page.evaluate(LARGE_TEXT)
    found["zoom and large text"] = tab.overflow()
    assert {look: fault for look, fault in found.items() if fault} == {}
