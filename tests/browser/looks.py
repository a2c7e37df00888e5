"""How a page looks: light and dark, wide and narrow, with large text, on paper."""

from typing import Final

from tests.browser.tab import Tab

LARGE_TEXT: Final = "document.documentElement.style.fontSize = '200%'"


def check_each_look(tab: Tab) -> None:
    """Fails on what axe-core finds, on a page wider than its window, and on tables that paper would cut off."""
    found: dict[str, object] = {}
    for width in (1280, 360):
        tab.page.set_viewport_size({"width": width, "height": 800})
        tab.page.emulate_media(color_scheme="light")
        found[f"light {width}"] = tab.violations() or tab.overflow()
        tab.page.emulate_media(color_scheme="dark")  # other colours, and nothing else
        found[f"dark {width}"] = tab.violations("color-contrast")
    tab.page.emulate_media(media="print", color_scheme="light")
    tab.page.set_viewport_size({"width": 718, "height": 1000})  # A4 between its margins
    found["paper"] = tab.overflow() or tab.cut_off()
    tab.page.emulate_media(media="screen")
    tab.page.set_viewport_size({"width": 640, "height": 400})  # 1,280 by 800 pixels at 200 %
    found["zoom"] = tab.overflow()
    tab.page.evaluate(LARGE_TEXT)
    found["zoom and large text"] = tab.overflow()
    assert {look: fault for look, fault in found.items() if fault} == {}, found
