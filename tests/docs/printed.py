"""What a page prints: its fenced blocks, and the commands in them."""

import re
import shlex
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
RECIPES = ("sql", "console")
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """Returns the fenced blocks of a page in that language, in the order of the page."""
    found = FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
    return [textwrap.dedent(text) for _, named, text in found if named == language]


def recipe(page: str, words: str) -> str:
    """Returns the only block of SQL or console output on a page of ``docs`` that contains these words."""
    of_page = [block for language in RECIPES for block in blocks(f"docs/{page}", language)]
    found = [block for block in of_page if words in block]
    assert len(found) == 1, f"{len(found)} blocks of {page} have {words!r}"
    return found[0]


def statements(block: str) -> list[str]:
    """Returns the statements of a block of SQL, without the comments at their ends."""
    code = re.sub(r"--.*$", "", block, flags=re.MULTILINE)
    return [statement.strip() for statement in code.split(";") if statement.strip()]


def program(page: str) -> str:
    """Returns the whole program of a page: its longest block of Python."""
    return max(blocks(page, "python"), key=len)


def commands(session: str) -> list[str]:
    """Returns the commands of a console session, each on one line."""
    joined = session.replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


def commands_of(program: str) -> list[str]:
    """Returns the commands that the docstring of a program says to run."""
    return [line.strip() for line in program.split('"""')[1].splitlines() if line.startswith("    ")]


@dataclass
class Curl:
    """A command of curl, to be sent to a server on another port."""

    path: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    @classmethod
    def parse(cls, command: str) -> "Curl":
        """Reads the options that the pages use: -H, -X and --json."""
        request, words = cls(), iter(shlex.split(command)[1:])
        for word in words:
            if word == "-H":
                name, _, value = next(words).partition(": ")
                request.headers[name] = value
            elif word == "-X":
                request.method = next(words)
            elif word == "--json":
                request.method, request.body = "POST", next(words)
                request.headers["Content-Type"] = "application/json"
            else:
                request.path = re.sub(r"^localhost:\d+", "", word)
        assert request.path.startswith("/"), command
        return request

    def send(self, server: str) -> httpx.Response:
        """Sends it to the server at that address."""
        url = server + self.path
        return httpx.request(self.method, url, headers=self.headers, content=self.body, timeout=30, trust_env=False)
