"""Whether the packages are installed that the pages in Django's admin share with the dashboard."""

from importlib.util import find_spec
from typing import Final

PACKAGES: Final = ("fastapi", "itsdangerous", "jinja2")


def is_installed() -> bool:
    """Returns whether ``pgaudit[web]`` is installed."""
    return all(find_spec(package) for package in PACKAGES)
