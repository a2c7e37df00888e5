"""Whose signatures a checkpoint needs: the log's, and those of witnesses, as C2SP ``tlog-policy`` says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from pgaudit.errors import InvalidNote, InvalidPolicy, PackAltered
from pgaudit.sealing.notes import COSIGNATURE, ED25519, MLDSA44, Checkpoint, Note, VerifierKey
from pgaudit.sealing.signing import signers

NONE: Final = "none"
KEY_BYTES: Final = {ED25519: 32, COSIGNATURE: 32, MLDSA44: 1_312}
KINDS: Final = {
    "log": {ED25519: "Ed25519", MLDSA44: "ML-DSA-44"},
    "witness": {COSIGNATURE: "Ed25519 with a time", MLDSA44: "ML-DSA-44"},
}
# The y of points whose multiples are few: with such a key, anyone can sign.
PRIME: Final = 2**255 - 19
ORDER_8: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
WEAK: Final = {0, 1, PRIME - 1, ORDER_8, PRIME - ORDER_8}


@dataclass(frozen=True, slots=True)
class Group:
    """A group of witnesses and groups, ``needed`` of which have to sign."""

    needed: int
    members: tuple[str, ...]


@dataclass(slots=True)
class Policy:
    """The keys of the log, any of which may sign; the witnesses, and which of them have to agree: ``quorum``."""

    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, VerifierKey] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None

    def __str__(self) -> str:
        """The text of a policy without witnesses."""
        return "".join(f"log {key}\n" for key in self.logs) + f"quorum {NONE}\n"

    @classmethod
    def of(cls, vkeys: Sequence[VerifierKey]) -> Self:
        """Returns the policy that one of these keys of the log has to sign."""
        return cls.parse("".join(f"log {key}\n" for key in vkeys) + f"quorum {NONE}\n")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the policy of a text.

        :raises InvalidPolicy: the text has another form; the message names the line.
        """
        policy = cls()
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                policy.read(*words)
            except (InvalidPolicy, InvalidNote) as error:
                raise InvalidPolicy(f"line {number} of the policy: {error}") from None
        if not policy.logs or policy.quorum is None:
            missing = "quorum NAME`, or `quorum none" if policy.logs else "log VKEY"
            raise InvalidPolicy(f"the policy has no line `{missing}`")
        return policy

    def read(self, word: str, *rest: str) -> None:
        """Reads the words of a line.

        :raises InvalidPolicy: the line has another form.
        """
        readers: dict[str, tuple[Callable[..., None], range]] = {
            "log": (self.add_log, range(1, 3)),
            "witness": (self.add_witness, range(2, 4)),
            "group": (self.add_group, range(3, 1_000)),
            "quorum": (self.set_quorum, range(1, 2)),
        }
        if word not in readers or len(rest) not in readers[word][1]:
            raise InvalidPolicy(
                "write `log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME all|any|NUMBER NAME…` or "
                "`quorum NAME|none`"
            )
        readers[word][0](*rest)

    def add_log(self, vkey: str, _url: str = "") -> None:
        """Adds a key of the log."""
        self.logs.append(self.new_key("log", vkey))

    def add_witness(self, name: str, vkey: str, _url: str = "") -> None:
        """Adds a witness."""
        self.check_new(name)
        self.witnesses[name] = self.new_key("witness", vkey)

    def add_group(self, name: str, needed: str, *members: str) -> None:
        """Adds a group of witnesses and groups.

        :raises InvalidPolicy: a member is not defined, or as many as needed do not exist.
        """
        self.check_new(name)
        for member in members:
            self.check_defined(member)
        if len(set(members)) < len(members):
            raise InvalidPolicy(f"the group {name} names a member twice")
        numbers = {"any": 1, "all": len(members)} | {str(number): number for number in range(1, len(members) + 1)}
        if needed not in numbers:
            raise InvalidPolicy(f"of the group {name}, any, all, or 1 to {len(members)} can be needed, not {needed!r}")
        self.groups[name] = Group(numbers[needed], members)

    def set_quorum(self, name: str) -> None:
        """Sets which witness or group has to agree.

        :raises InvalidPolicy: it is not defined, or there is a quorum already.
        """
        if self.quorum is not None:
            raise InvalidPolicy("a policy has one quorum")
        if name != NONE:
            self.check_defined(name)
        self.quorum = name

    def check_new(self, name: str) -> None:
        """Checks that a name may be defined.

        :raises InvalidPolicy: it is taken.
        """
        if name == NONE or name in self.witnesses or name in self.groups:
            raise InvalidPolicy(f"the name {name} is taken")

    def check_defined(self, name: str) -> None:
        """Checks that a name was defined.

        :raises InvalidPolicy: it was not.
        """
        if name not in self.witnesses and name not in self.groups:
            raise InvalidPolicy(f"{name} is not defined above")

    def new_key(self, role: str, vkey: str) -> VerifierKey:
        """Returns a new key of the policy: no key counts twice, and no log is its own witness.

        :raises InvalidNote: it is no public key.
        :raises InvalidPolicy: it is of another kind, is known already, or lets anyone sign.
        """
        key = VerifierKey.parse(vkey)
        if key.kind not in KINDS[role] or len(key.public) != KEY_BYTES[key.kind]:
            raise InvalidPolicy(f"the key of a {role} is {' or '.join(KINDS[role].values())}, this is another one")
        if any(key.public == known.public for known in (*self.logs, *self.witnesses.values())):
            raise InvalidPolicy("the policy has this key already")
        if key.kind != MLDSA44 and int.from_bytes(key.public, "little") % 2**255 % PRIME in WEAK:
            raise InvalidPolicy("with this key, anyone can sign: it is a point of small order")
        return key

    def check(self, note: Note) -> list[VerifierKey]:
        """Returns the keys that signed the checkpoint, if the policy accepts them.

        :raises PackAltered: they are not enough, or a signature is not valid.
        """
        origin = Checkpoint.parse(note.text).origin
        try:
            logs = signers(note, [key for key in self.logs if key.name == origin])
            cosigners = signers(note, list(self.witnesses.values()))
        except InvalidNote as error:
            raise PackAltered(f"the checkpoint: {error}") from None
        if not logs:
            raise PackAltered(f"the checkpoint of {origin} is not signed by a key that the policy has for this log")
        if not self.is_reached(cosigners):
            names = ", ".join(key.name for key in cosigners) or "no witness"
            raise PackAltered(
                f"the checkpoint lacks witnesses: {names} signed it, and the policy asks for {self.quorum}"
            )
        return [*logs, *cosigners]

    def is_reached(self, cosigners: Sequence[VerifierKey], name: str | None = None) -> bool:
        """Returns whether a witness has signed, or enough members of a group; by default, those of the quorum."""
        name = name or self.quorum or NONE
        if name in self.groups:
            group = self.groups[name]
            return sum(self.is_reached(cosigners, member) for member in group.members) >= group.needed
        return name == NONE or self.witnesses[name] in cosigners

    @property
    def asks_for_witnesses(self) -> bool:
        """Whether signatures of the log alone are not enough."""
        return self.quorum not in (None, NONE)

    @property
    def keys(self) -> list[VerifierKey]:
        """The keys of the log and of all witnesses."""
        return [*self.logs, *self.witnesses.values()]
