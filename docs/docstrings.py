"""A griffe extension: docstrings as Markdown, for mkdocstrings."""

import re
from typing import Any, Final

import griffe

from docs.source import said

EXAMPLE: Final = re.compile(r"^>>> .*(?:\n\S.*)*", re.MULTILINE)


class MarkdownDocstrings(griffe.Extension):
    """Turns roles into code and examples into code blocks; drops those of modules and of special methods."""

    def on_instance(self, *, obj: griffe.Object, **_kwargs: Any) -> None:
        """Rewrites the docstring of one object."""
        if obj.is_module or (obj.name.startswith("__") and obj.name != "__init__"):
            obj.docstring = None
        elif obj.docstring:
            obj.docstring.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", said(obj.docstring.value))
