"""``pgaudit`` and ``python -m pgaudit``."""

import os
import sys


def main() -> None:
    """Runs the command line, if its packages are installed and the system has what it needs."""
    if not hasattr(os, "geteuid"):
        sys.exit(
            "The pgaudit command needs a POSIX system, such as Linux or macOS: run it there. Recording works here."
        )
    try:
        from pgaudit.cli import main as run  # noqa: PLC0415 - its packages are an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit('The pgaudit command needs typer and rich: pip install "pgaudit[cli]"')
    run()


if __name__ == "__main__":
    main()
