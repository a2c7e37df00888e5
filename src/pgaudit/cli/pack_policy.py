"""The policy of a pack: from a file, from keys, or of the signer whose key is at hand."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pgaudit._environment import variable_of
from pgaudit.errors import ExportRefused, InvalidNote, InvalidPolicy, MissingExtra
from pgaudit.settings import Settings


@contextmanager
def with_sealing() -> Generator[None]:
    """Explains what is missing if the packages of the extra are.

    :raises MissingExtra: they are.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(f'{error.name} is not installed: pip install "pgaudit[sealing]"') from error


def given_policy(file: Path | None, vkeys: Sequence[str] | None) -> str | None:
    """Returns the text of the policy that the options name; None if they name none.

    :param vkeys: one or more keys in each, separated by white space as `pgaudit keys show` prints them.
    :raises InvalidPolicy: they name two policies, or something that is not a key.
    """
    if file and vkeys:
        raise InvalidPolicy("--policy and --vkey exclude each other: put the keys into the policy")
    if file:
        return text_of(file)
    return policy_with([key for vkey in vkeys for key in vkey.split()]) if vkeys else None


def policy_with(vkeys: Sequence[str]) -> str:
    """Returns the text of a policy with these keys of the log, and without witnesses.

    :raises InvalidPolicy: one of them is not a key.
    """
    with with_sealing():
        from pgaudit.sealing.notes import VerifierKey  # noqa: PLC0415 - its packages are an extra

    try:
        keys = [VerifierKey.parse(vkey) for vkey in vkeys]
    except InvalidNote as error:
        raise InvalidPolicy(f"--vkey: {error}") from None
    return "".join(f"log {key}\n" for key in keys) + "quorum none\n"


def text_of(file: Path) -> str:
    """Returns the text of a file.

    :raises InvalidPolicy: it is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidPolicy(f"{file} is not a text in UTF-8") from None


def policy_of_signer() -> str:
    """Returns the policy that the log's own keys have to sign, old ones too: they are beside its private key.

    :raises ExportRefused: no key is at hand.
    """
    with with_sealing():
        from pgaudit.sealing.keys import verifier_keys  # noqa: PLC0415 - its packages are an extra
        from pgaudit.sealing.policy import Policy  # noqa: PLC0415 - as above

    known = verifier_keys(Settings())
    if not known:
        raise ExportRefused(
            "a pack has the public keys of the log: name a file with them, --policy FILE, or a key, --vkey; where "
            f"{variable_of('signing_key')} names a file, those beside it are used"
        )
    return str(Policy.of(known))
