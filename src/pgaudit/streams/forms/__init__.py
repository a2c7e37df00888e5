"""The forms in which an event is sent: its own text, or that of a standard."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from pgaudit._exact_json import to_json
from pgaudit.errors import InvalidStream
from pgaudit.streams.forms import native
from pgaudit.trail.entry import Entry

# Returns an event as JSON: its members in the form's order; numbers are exact (Decimals).
Form = Callable[[Entry], dict[str, Any]]
MODULES: Final[Mapping[str, str]] = {"native": "native"}


def writer_of(name: str) -> Callable[[Entry], str]:
    """Returns the function that writes an event of the log in that form, as JSON on one line.

    :raises InvalidStream: there is no such form.
    """
    if name == "native":
        return native.text
    form = form_of(name)
    return lambda entry: to_json(form(entry))


def form_of(name: str) -> Form:
    """Returns the function that makes an event of the log one of that form.

    :raises InvalidStream: there is no such form.
    """
    if name not in MODULES:
        raise InvalidStream(f"{name!r} is no form: write {', '.join(MODULES)}")
    formed: Form = import_module(f"{__name__}.{MODULES[name]}").form
    return formed
