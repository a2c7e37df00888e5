"""The forms in which an event is sent: its own text, or that of a standard.

================ =================================================================
``native``       the event as the log has it, with its index and leaf hash
``cloudevents``  CloudEvents 1.0
``ocsf``         Open Cybersecurity Schema Framework: the class Entity Management
``ecs``          Elastic Common Schema
``field_values`` what several of them say in the same words
================ =================================================================
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from pgaudit._exact_json import to_json
from pgaudit.errors import InvalidStream, MissingExtra
from pgaudit.streams.forms import native
from pgaudit.trail.entry import Entry

# Returns an event as JSON: its members in the form's order; numbers are exact (Decimals).
Form = Callable[[Entry], dict[str, Any]]
MODULES: Final[Mapping[str, str]] = {"native": "native", "cloudevents": "cloudevents", "ocsf": "ocsf", "ecs": "ecs"}
JSON: Final = "application/json"
CONTENT_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "cloudevents": ("application/cloudevents+json", "application/cloudevents-batch+json"),
}


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
    :raises MissingExtra: its packages are not installed.
    """
    if name not in MODULES:
        raise InvalidStream(f"{name!r} is no form: write {', '.join(MODULES)}")
    try:
        formed: Form = import_module(f"{__name__}.{MODULES[name]}").form
    except ModuleNotFoundError as error:
        raise MissingExtra(f'the form {name} needs {error.name}: pip install "pgaudit[streams]"') from error
    return formed


def content_type(name: str, *, is_list: bool = False) -> str:
    """Returns the media type of an event of that form as JSON, or of a JSON array of such events.

    >>> content_type("cloudevents", is_list=True)
    'application/cloudevents-batch+json'
    """
    one, several = CONTENT_TYPES.get(name, (JSON, JSON))
    return several if is_list else one
