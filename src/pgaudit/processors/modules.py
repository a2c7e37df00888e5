"""Imports the modules that declare processors, as ``PGAUDIT_PROCESSORS`` names them."""

import importlib
import logging
from collections.abc import Iterable

logger = logging.getLogger("pgaudit.worker")


def load(names: Iterable[str]) -> None:
    """Imports the modules. One that cannot be imported is logged, so that the worker still starts; its events wait."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            logger.exception("PGAUDIT_PROCESSORS: the module %s cannot be imported, so its processors wait", name)
