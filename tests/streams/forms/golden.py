"""What each form makes of the events, in files to review: ``python -m tests.streams.forms.golden`` writes them anew."""

from pathlib import Path

from pgaudit._exact_json import to_indented_json
from pgaudit.streams.forms import MODULES, form_of
from tests.streams.forms.events import ENTRIES

DIRECTORY = Path(__file__).parent / "golden"


def path_of(form: str) -> Path:
    """Returns the file of a form."""
    return DIRECTORY / f"{form}.json"


def made(form: str) -> str:
    """Returns what a form makes of the events."""
    return to_indented_json([form_of(form)(entry) for entry in ENTRIES]) + "\n"


if __name__ == "__main__":
    for name in MODULES:
        path_of(name).write_text(made(name), encoding="utf-8")
