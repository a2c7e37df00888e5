"""The ``PGAUDIT_`` variables: which settings they are, and which of them are none."""

import os
from collections.abc import Iterable, Iterator
from typing import Final

PREFIX: Final = "PGAUDIT_"
OTHER_VARIABLES: Final = ("TEST_PG",)  # which pgaudit.testing reads
LEGACY_NAMES: Final = {"job_attempts": "QUEUE_JOB_ATTEMPTS", "job_backoff_delay": "QUEUE_JOB_BACKOFF_DELAY"}


def environment(fields: Iterable[str]) -> dict[str, str]:
    """Returns which settings the environment has, by field. An empty variable (``${X:-}`` in Docker Compose) is none.

    pydantic-settings would read it as well, and take a third of the time of ``import pgaudit``.
    """
    variables = {field: variable_of(field) for field in fields}
    return {field: value for field, variable in variables.items() if (value := os.environ.get(variable))}


def unknown_variables(fields: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Yields the ``PGAUDIT_`` variables that are not settings, each with the most similar name of a setting, if any."""
    known = {*OTHER_VARIABLES, *(field.upper() for field in fields)}
    for variable in sorted(os.environ):
        name = variable.removeprefix(PREFIX)
        if variable.startswith(PREFIX) and name not in known:
            from difflib import get_close_matches  # noqa: PLC0415 - most environments have no misspelt variable

            meant = get_close_matches(name, sorted(known), n=1)
            yield variable, f"{PREFIX}{meant[0]}" if meant else None


def variable_of(field: str) -> str:
    """Returns the variable that a field is read from: the one of its old name only where the new one is not set."""
    variable, old = f"{PREFIX}{field.upper()}", LEGACY_NAMES.get(field, "")
    return old if os.environ.get(old) and not os.environ.get(variable) else variable


def parse_words(value: object) -> object:
    """Returns the words of a list such as "actor, target"; other values as they are."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value
