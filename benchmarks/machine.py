"""What the figures were taken on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("pgaudit", "procrastinate", "pgqueuer", "psycopg", "asyncpg")


def description() -> dict[str, Any]:
    """The machine, and the versions of what runs on it."""
    return {
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores{of_model()}, {memory()}, {platform.system()} {platform.release()}",
        "packages": {name: version(name) for name in PACKAGES},
    }


def of_model() -> str:
    """The processor's name, where the kernel gives one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f" of {models[0]}" if models else f" of {platform.machine()}"


def memory() -> str:
    """How much there is."""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB"
