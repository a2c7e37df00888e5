"""What the pages take from the code when the site is built, so that they cannot say anything else.

A line of a page that reads ``{{ settings }}`` becomes what ``TABLES`` has under that name;
``{{ code examples/plain.py issue main }}`` the statements of that file that define those names, or call them;
``{{ stubs pgaudit.trail last after }}`` the signatures of what that module has under those names;
``{{ revision }}``, wherever it is, the newest revision of the schema.
"""

import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mkdocs.exceptions import PluginError

from pgaudit import schema

sys.path.insert(0, str(Path(__file__).parents[1]))  # for MkDocs, which takes it away again
from docs import generated, source

REVISION: Final = "{{ revision }}"
DIRECTIVE: Final = re.compile(r"^( *)\{\{ (\w+)(?: (.+))? \}\}$", re.MULTILINE)
CODE: Final[dict[str, Callable[..., str]]] = {"code": source.code, "stubs": source.stubs}
TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": generated.settings,
    "event": generated.event,
    "errors": generated.error_tree,
    "commands": generated.commands,
    "relations": generated.relations,
    "functions": generated.functions,
    "signals": generated.worker_signals,
    "metrics": generated.metric_families,
    "routes": generated.routes,
}


def on_page_markdown(markdown: str, **_page: Any) -> str:
    """Called by MkDocs for each page."""
    return DIRECTIVE.sub(replacement, markdown.replace(REVISION, schema.NEWEST))


def replacement(match: re.Match[str]) -> str:
    """What a directive stands for.

    :raises PluginError: nothing has that name; the build ends.
    """
    indent, name, arguments = match[1], match[2], (match[3] or "").split()
    if name in CODE:
        return textwrap.indent(f"```python\n{CODE[name](*arguments)}\n```", indent)
    if name not in TABLES:
        raise PluginError(f"{match[0]}: there are {', '.join([*CODE, *TABLES])}")
    return textwrap.indent(TABLES[name](), indent)
