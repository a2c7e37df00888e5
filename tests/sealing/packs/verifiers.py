"""The two verifiers of packs, called in the same way."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from pgaudit.errors import InvalidPolicy, PackAltered, PackUnreadable
from pgaudit.sealing.packs import checking, verify
from pgaudit.sealing.packs.description import END, LAST_LINE, Description
from pgaudit.sealing.policy import Policy

Verifier = Callable[[Path, Path | None], tuple[int, str]]


def by_library(pack: Path, policy: Path | None = None) -> tuple[int, str]:
    """Returns the exit code of ``pgaudit verify-pack``, and the reason."""
    try:
        checking.check(pack, Policy.parse(policy.read_text()) if policy else None)
    except PackAltered as error:
        return 1, str(error)
    except (PackUnreadable, InvalidPolicy) as error:
        return 2, str(error)
    return 0, ""


def by_program(pack: Path, policy: Path | None = None) -> tuple[int, str]:
    """Returns the exit code of ``verify.py``, and what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = verify.main([*(["--policy", str(policy)] if policy else []), str(pack)])
    return code, printed.getvalue()


BOTH: tuple[Verifier, ...] = (by_library, by_program)


def assert_refused(pack: Path, reason: str, policy: Path | None = None, code: int = 1) -> None:
    """Asserts that both verifiers refuse the pack for that reason, a regular expression."""
    for verifier in BOTH:
        found, said = verifier(pack, policy)
        assert (found, bool(re.search(reason, said))) == (code, True), (verifier.__name__, found, said)


def assert_verified(pack: Path, policy: Path | None = None) -> None:
    """Asserts that both verifiers accept the pack."""
    for verifier in BOTH:
        found, said = verifier(pack, policy)
        assert found == 0, (verifier.__name__, said)


def described(pack: Path) -> dict[str, Any]:
    """Returns what ``pack.json`` says."""
    values: dict[str, Any] = json.loads((pack / "pack.json").read_text())
    return values


def describe(pack: Path, **changes: Any) -> None:
    """Writes ``pack.json`` anew, as someone does who hides a change: all hashes and the given values fit."""
    values = described(pack) | changes
    del values["sha256"]
    names = [path.relative_to(pack).as_posix() for path in pack.rglob("*") if path.is_file()]
    hashes = {name: sha256((pack / name).read_bytes()).hexdigest() for name in sorted(names) if name != "pack.json"}
    (pack / "pack.json").write_bytes(Description(**values | {"files": hashes}).to_bytes())


def describe_as(pack: Path, text: str) -> None:
    """Writes ``pack.json`` with any content, and the hash that fits it."""
    content = text.encode()
    (pack / "pack.json").write_bytes(content + LAST_LINE + sha256(content).hexdigest().encode() + END)
