"""Invalid settings, as sentences that name their variables."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from pgaudit._environment import variable_of
from pgaudit._secrets import SECRET

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def describe(error: ValidationError) -> str:
    """Returns a sentence for each invalid setting, with the name of its variable."""
    return "; ".join(sentence(problem) for problem in error.errors())


def sentence(problem: "ErrorDetails") -> str:
    """Returns what is wrong with a setting. An error of several settings together names their variables itself."""
    if not problem["loc"]:
        return problem["msg"].removeprefix("Value error, ")
    field = str(problem["loc"][0])
    value = "" if field in SECRET else f"={problem['input']!r}"
    return f"{variable_of(field)}{value}: {problem['msg'].removeprefix('Value error, ')}"
