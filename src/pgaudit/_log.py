"""The application log of the library: the logger ``pgaudit``."""

import logging
from functools import lru_cache

logger = logging.getLogger("pgaudit")


@lru_cache(maxsize=100)  # bounded, because a client may choose part of the message
def warn_once(message: str) -> None:
    """Logs a warning, unless this process has logged the same message before."""
    logger.warning(message)
