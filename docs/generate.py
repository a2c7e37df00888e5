"""Writes into the pages what is made of the code: ``make docs`` runs it, and a test finds pages that it would change.

A generated part stands between two comments, and is written there so that it can be read without building the site::

    <!-- generated: settings -->
    | Variable | Default | |
    <!-- end -->

The comment names what to write: a table of ``TABLES``; ``code PATH NAME …``, the statements of a file that define or
call these names; ``names MODULE NAME …``, a table of public names; ``file PATH``, a whole file.
"""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Final

from docs import generated, source

PAGES: Final = Path(__file__).parent
PART: Final = re.compile(
    r"^(?P<indent> *)<!-- generated: (?P<what>.+?) -->\n.*?^ *<!-- end -->$", re.MULTILINE | re.DOTALL
)
FORMATS: Final = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".service": "ini", "": "dockerfile"}
TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": generated.settings,
    "event": generated.event,
    "errors": generated.error_tree,
    "commands": generated.commands,
    "fields": generated.query_fields,
    "relations": generated.relations,
    "functions": generated.functions,
    "signals": generated.worker_signals,
    "metrics": generated.metric_families,
    "routes": generated.routes,
}


def generate(page: str) -> str:
    """Returns the text of a page with its generated parts renewed.

    :raises KeyError: a comment names something that does not exist.
    """
    return PART.sub(_part, page)


def _part(match: re.Match[str]) -> str:
    """Returns one part, with its comments."""
    what, *arguments = match["what"].split()
    if what == "code":
        content = f"```python\n{source.code(*arguments)}\n```"
    elif what == "names":
        content = generated.names(*arguments)
    elif what == "file":
        content = _file(*arguments)
    else:
        content = TABLES[what]()
    return textwrap.indent(f"<!-- generated: {match['what']} -->\n{content}\n<!-- end -->", match["indent"])


def _file(path: str) -> str:
    """Returns a file of the project as a code block."""
    text = (source.ROOT / path).read_text(encoding="utf-8").rstrip()
    return f"```{FORMATS[Path(path).suffix]}\n{text}\n```"


if __name__ == "__main__":
    for path in sorted(PAGES.rglob("*.md")):
        path.write_text(generate(path.read_text(encoding="utf-8")), encoding="utf-8")
