"""The files of a signer: its private keys, the public keys of all its generations, and what it has signed last."""

import os
import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from pgaudit._durable_files import fsync_directory, fsync_file
from pgaudit.errors import InvalidKey, InvalidNote
from pgaudit.sealing.notes import ED25519, MLDSA44, Checkpoint, VerifierKey
from pgaudit.sealing.signing import PREFIX, SEED_BYTES, SigningKey
from pgaudit.settings import Settings

PUBLIC_SUFFIX: Final = ".pub"
MARK_SUFFIX: Final = ".mark"
LOCK_SUFFIX: Final = ".lock"
READABLE_BY_OTHERS: Final = 0o077
HEADER: Final = "# Public keys of this log, the newest first. Older ones verify what was signed with them.\n"


def new_keys(name: str, *, post_quantum: bool = False) -> list[SigningKey]:
    """Returns new keys of that name: Ed25519, and ML-DSA-44 if asked for."""
    kinds = (ED25519, MLDSA44) if post_quantum else (ED25519,)
    return [SigningKey(name, kind, secrets.token_bytes(SEED_BYTES)) for kind in kinds]


def create(path: Path, keys: Sequence[SigningKey]) -> None:
    """Writes a file with new keys, readable by its owner alone, and one with their public keys.

    :raises InvalidKey: there is such a file already, or it cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text_of(keys))
            fsync_file(file)
    except FileExistsError:
        raise InvalidKey(f"{path} exists already: replace its keys with `pgaudit keys rotate`") from None
    except OSError as error:
        raise InvalidKey(f"cannot write {path}: {error.strerror}") from None
    write_public(path, [key.verifier for key in keys])


def replace_keys(path: Path, keys: Sequence[SigningKey]) -> None:
    """Replaces the private keys of a file. The public keys of the old ones are kept beside it."""
    known = public_keys(path)
    write_public(path, [*(key.verifier for key in keys), *known])
    write_atomically(path, text_of(keys), 0o600)


def text_of(keys: Sequence[SigningKey]) -> str:
    """Returns the content of a file with keys."""
    return "".join(f"{key.text}\n" for key in keys)


def load(given: str) -> list[SigningKey]:
    """Returns the keys of a setting: of the file that it names, or the key itself.

    :raises InvalidKey: there is no such file, others may read it, or it has no keys of one name.
    """
    lines = [given] if given.startswith(PREFIX) else lines_of(Path(given))
    keys = [SigningKey.parse(line) for line in lines]
    if len({key.name for key in keys}) != 1:
        raise InvalidKey("the keys of a signer have one name, that of the log")
    return keys


def lines_of(path: Path) -> list[str]:
    """Returns the lines with keys of a file that only its owner may read.

    :raises InvalidKey: it cannot be read, or others may read it.
    """
    try:
        with path.open() as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & READABLE_BY_OTHERS:
                raise InvalidKey(f"{path} can be read by others: chmod 600 {path}")
            lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    except OSError as error:
        raise InvalidKey(f"cannot read {path}: {error.strerror}; make a key with `pgaudit keys new`") from None
    except UnicodeDecodeError:
        raise InvalidKey(f"{path} is no file with keys") from None
    if not lines:
        raise InvalidKey(f"{path} has no key")
    return lines


def public_path(path: Path) -> Path:
    """Returns the file of public keys that belongs to a file of private ones, or is given itself."""
    return path if path.suffix == PUBLIC_SUFFIX else path.with_name(path.name + PUBLIC_SUFFIX)


def public_keys(path: Path) -> list[VerifierKey]:
    """Returns the public keys beside a file of private ones, the newest first.

    :raises InvalidNote: a line is no public key.
    """
    public = public_path(path)
    lines = public.read_text().splitlines() if public.exists() else []
    return [VerifierKey.parse(line) for line in lines if line.strip() and not line.startswith("#")]


def verifier_keys(settings: Settings) -> list[VerifierKey]:
    """Returns the public keys beside the signing key that the settings name; none if they name no file.

    :raises InvalidNote: a line of that file is no public key.
    """
    given = settings.signing_key.get_secret_value() if settings.signing_key else PREFIX
    return [] if given.startswith(PREFIX) else public_keys(Path(given))


def write_public(path: Path, keys: Sequence[VerifierKey]) -> None:
    """Writes the public keys beside a file of private ones."""
    write_atomically(public_path(path), HEADER + "".join(f"{key}\n" for key in keys), 0o644)


class HighWaterMark:
    """What a signer has signed last. It is kept outside the database, so that no restore undoes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Checkpoint | None:
        """Returns the last checkpoint; None before the first.

        :raises InvalidKey: the file is damaged: nothing may be signed without it.
        """
        try:
            return Checkpoint.parse(self.path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, InvalidNote, UnicodeDecodeError) as error:
            raise InvalidKey(f"cannot read what was signed last, in {self.path}: {error}") from None

    @contextmanager
    def locked(self) -> Generator[None]:
        """Lets one process at a time compare with what was signed last and note what is signed next.

        Two that do so at once could sign two logs of one size. Windows has no such lock: let one worker have the key.

        :raises InvalidKey: nothing can be noted, so nothing may be signed.
        """
        try:
            with self.path.with_name(f".{self.path.name}{LOCK_SUFFIX}").open("a") as file:
                lock(file)
                yield
        except OSError as error:
            raise InvalidKey(f"cannot note what is signed, in {self.path}: {error.strerror}") from None

    def advance(self, checkpoint: Checkpoint) -> None:
        """Notes a checkpoint durably, before it is signed.

        :raises OSError: it cannot be written; then the checkpoint must not be signed.
        """
        write_atomically(self.path, str(checkpoint), 0o600)


def lock(file: TextIO) -> None:
    """Waits until no other process has locked the file, and locks it until it is closed."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    fcntl.flock(file, fcntl.LOCK_EX)


def write_atomically(path: Path, text: str, mode: int) -> None:
    """Replaces a file: after a crash it has the old content or the new."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        fsync_file(file)
    temporary.replace(path)
    if os.name == "posix":
        fsync_directory(path.parent)
