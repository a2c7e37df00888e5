"""The log of the library."""

import logging
from functools import lru_cache

logger = logging.getLogger("pgaudit")


@lru_cache(maxsize=100)  # a request may choose the text
def warn_once(message: str) -> None:
    """Writes a warning, unless this process has written it before."""
    logger.warning(message)
