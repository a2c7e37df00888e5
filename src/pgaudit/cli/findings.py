"""What ``pgaudit doctor`` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"  # it works, but may not be what was meant
    FAULT = "fault"  # it does not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; the remedy is there unless it is ok."""

    name: str
    level: Level
    message: str
    remedy: str | None = None
