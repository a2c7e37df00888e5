"""Settings, from the environment or given in code.

=============  ==========================================================================
``database``   where the database is
``recording``  what happens to an event, and what it must have
``worker``     batches, retries, stalled jobs and shutdown
``streams``    whether a worker sends streams, and the processors that it runs
``sealing``    when a worker signs and verifies, its key, and the anchors
``web``        thresholds of health, tokens, and the port of a worker's probes
``requests``   what the middlewares keep of a request, and which proxies they believe
``problems``   invalid settings, as sentences that name their variables
=============  ==========================================================================
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pgaudit import _secrets, embedded
from pgaudit._environment import environment, unknown_variables, variable_of
from pgaudit._log import warn_once
from pgaudit.errors import InvalidSettings
from pgaudit.settings.database import DatabaseSettings
from pgaudit.settings.problems import describe
from pgaudit.settings.recording import Mode, OnFailure, RecordingSettings
from pgaudit.settings.requests import ClientAddress, RequestSettings
from pgaudit.settings.sealing import SealingSettings
from pgaudit.settings.streams import StreamSettings
from pgaudit.settings.web import WebSettings
from pgaudit.settings.worker import WorkerSettings

__all__ = ["ClientAddress", "Mode", "OnFailure", "Settings"]


class Settings(  # the fields of the last part come first
    RequestSettings,
    WebSettings,
    SealingSettings,
    StreamSettings,
    WorkerSettings,
    RecordingSettings,
    DatabaseSettings,
    frozen=True,
    extra="forbid",
    defer_build=False,
):
    """Each field is read from ``PGAUDIT_`` and its name in upper case.

    >>> Settings(batch_size=200).batch_size
    200

    :raises InvalidSettings: a value is invalid; the message names the variable.
    """

    def __init__(self, **values: Any) -> None:
        given: dict[str, Any] = environment(type(self).model_fields) | values
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise InvalidSettings(describe(error)) from None
        for name, meant in unknown_variables(type(self).model_fields):
            warn_once(f"{name} is not a setting, so it is ignored" + (f": write {meant}" if meant else ""))

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Pickles the settings without their secrets, which the unpickling process reads from its environment.

        :raises InvalidSettings: a secret was given in code.
        """
        values, shown = _secrets.pickled(self)
        return _secrets.unpickled, (type(self), values, shown)

    @property
    def conninfo(self) -> str:
        """Where to connect, for libpq. For ``embedded:PATH`` the server there is started, or joined.

        :raises MissingExtra: the package with the server's binaries is not installed.
        """
        return embedded.conninfo(self.dsn)

    def require_spool_dir(self) -> Path:
        """Returns the directory of spooled events.

        :raises InvalidSettings: there is none.
        """
        if self.spool_dir is None:
            raise InvalidSettings(f"{variable_of('spool_dir')} is not set: there is no spool")
        return self.spool_dir
