"""The kinds of destinations. Each module needs the packages of an extra, and is imported when one is opened."""

from importlib import import_module
from typing import Final

from pgaudit.errors import MissingExtra
from pgaudit.streams.destinations.destination import Destination
from pgaudit.streams.forms import form_of
from pgaudit.streams.request import Request

# For each kind of URL: the module that has `open_destination(request)`, and the extra with its packages.
MODULES: Final[dict[str, tuple[str, str]]] = {
    "webhook": ("webhook", "streams"),
    "splunk": ("splunk", "streams"),
    "datadog": ("datadog", "streams"),
    "otlp": ("otlp", "streams"),
    "smtp": ("smtp", "streams"),
    "syslog": ("syslog", "streams"),
    "file": ("file", "streams"),
    "s3": ("s3", "s3"),
    "parquet": ("parquet", "parquet"),
    "nats": ("nats", "nats"),
    "kafka": ("kafka", "kafka"),
    "report": ("report", "streams"),
}


def open_destination(request: Request) -> Destination:
    """Returns the destination of a stream.

    :raises MissingExtra: its packages are not installed.
    :raises InvalidStream: what it is sent could be read on its way.
    :raises DestinationRefused: a secret that its URL refers to is not there.
    """
    request.url.check_private(allow_private=request.allow_private)
    form_of(request.form)
    module, extra = MODULES[request.url.kind]
    try:
        opened: Destination = import_module(f"{__name__}.{module}").open_destination(request)
    except ModuleNotFoundError as error:
        if request.url.carrier == "s3":
            extra = "s3,streams"
        raise MissingExtra(
            f'a stream to {request.url.kind} needs {error.name}: pip install "pgaudit[{extra}]"'
        ) from error
    return opened
