#!/usr/bin/env python3
"""Verifies a pack of audit events, without a network and without the software that made it.

    python3 verify.py [--policy FILE] [PACK]

PACK is a directory or a zip file; left out, the directory of this program. FILE has the public keys that you trust.
Without it, those in the pack are used, which proves nothing about who signed. Needs Python 3.8 or later, nothing else.

Exit code: 0 verified; 1 not verified; 2 could not be checked, or there was nothing to check.

The log is a Merkle tree (RFC 6962): each event is hashed, and pairs of hashes are hashed again, up to a single one, the
root. A checkpoint is the signed statement of the log: its name, its number of events, and the root. If one character of
one event were different, the root would be. The function `verify`, at the end, calls the steps one after the other.
"""

from __future__ import annotations

import json
import sys
import zipfile
from base64 import b64decode
from collections.abc import Iterator
from datetime import date, timedelta
from hashlib import sha256, sha512
from pathlib import Path
from typing import IO, Any, NamedTuple

ALWAYS = {"pack.json", "events.ndjson", "checkpoint", "policy", "README.txt", "verify.py"}


class Refused(Exception):
    """The pack is not what was signed. The text says which file, and which event."""


class Unchecked(Exception):
    """Something prevents the check, or is beyond this program."""


# ---- Step 1: the files are those that pack.json lists, and unchanged -------------------------------------------------


class Pack:
    """The files of a directory or a zip file. ``used`` has those that were read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: set[str] = set()
        self.zip = None if path.is_dir() else zipfile.ZipFile(path)

    def names(self) -> list[str]:
        if self.zip:
            return self.zip.namelist()
        return [each.relative_to(self.path).as_posix() for each in self.path.rglob("*") if not each.is_dir()]

    def open(self, name: str) -> IO[bytes]:
        self.used.add(name)
        try:
            return self.zip.open(name) if self.zip else (self.path / name).open("rb")
        except (KeyError, FileNotFoundError):
            raise Refused(f"{name}: this file is missing") from None

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()


def check_files(pack: Pack) -> dict[str, Any]:
    """The last line of pack.json has the hash of what stands before it; the rest has the hashes of the other files."""
    data, last_line = pack.read("pack.json"), b'  "sha256": "'
    content = data.rpartition(last_line)[0]
    if data != content + last_line + sha256(content).hexdigest().encode() + b'"\n}\n':
        raise Refused("pack.json: its content does not match the hash in its last line")
    about: dict[str, Any] = json.loads(data.decode())
    if about["pack_version"] != 1 or about["purged"] or about["redacted"]:
        raise Unchecked("pack.json: this program knows version 1, with no purged or redacted events")
    names, hashes = pack.names(), about["files"]
    for name in sorted({*hashes, *ALWAYS} ^ set(names)):
        raise Refused(f"{name!a}: this file {'does not belong to the pack' if name in names else 'is missing'}")
    if len(names) > len(set(names)):
        raise Refused("two files of the pack have the same name")
    for name in sorted(set(names) - {"pack.json", "events.ndjson"}):  # the events are hashed in step 4
        if sha256(pack.read(name)).hexdigest() != hashes.get(name):
            raise Refused(f"{name}: its SHA-256 is not the one in pack.json")
    pack.used.clear()
    return about


# ---- Step 2: the keys that may sign for the log (C2SP tlog-policy) ---------------------------------------------------


class Key(NamedTuple):
    """A public key of Ed25519, the log that it signs for, and the four bytes by which signatures name it."""

    name: str
    id: bytes
    public: bytes


def read_policy(text: str) -> tuple[list[Key], str]:
    """Returns the keys of the log, and the witnesses that have to agree, or "none"."""
    keys: list[Key] = []
    quorums: list[str] = []
    for words in (line.split() for line in text.splitlines() if line.strip() and line.strip()[0] != "#"):
        if words[0] == "log":
            name, key_id, encoded = words[1].split("+", 2)
            blob = b64decode(encoded, validate=True)
            if sha256(f"{name}\n".encode() + blob).hexdigest()[:8] != key_id:
                raise Unchecked(f"policy: the key {words[1]!a} is damaged")
            if blob[0] == 1:  # Ed25519; keys of other kinds are passed over
                keys.append(Key(name, bytes.fromhex(key_id), blob[1:]))
        elif words[0] == "quorum":
            quorums.append(words[1])
        elif words[0] not in ("witness", "group"):
            raise Unchecked(f"policy: not a line with log, witness, group or quorum: {' '.join(words)!a}")
    if not keys:
        raise Unchecked("policy: it has no `log` with an Ed25519 key; for other keys see `pgaudit verify-pack`")
    if len(quorums) != 1:
        raise Unchecked("policy: it needs one line with `quorum`, such as `quorum none`")
    return keys, quorums[0]


# ---- Step 3: the signature of the checkpoint (C2SP signed-note; Ed25519 of RFC 8032, section 5.1.7) ------------------


class Checkpoint(NamedTuple):
    """What the log has signed, and with which key."""

    note: str
    size: int
    root: bytes
    signed_by: str


def read_checkpoint(pack: Pack, keys: list[Key]) -> Checkpoint:
    """Returns what the checkpoint states, once a key of the policy is found to have signed it."""
    note = pack.read("checkpoint").decode()
    text, _, signatures = note.rpartition("\n\n")
    origin, size, root = text.split("\n")
    signed_by = ""
    for dash, name, encoded in (line.split(" ") for line in signatures.splitlines()):
        blob = b64decode(encoded, validate=True)
        for key in keys:
            if dash == "\u2014" and key.name == name == origin and key.id == blob[:4]:
                if not is_signature(key.public, f"{text}\n".encode(), blob[4:]):
                    raise Refused(f"checkpoint: the signature of the key {name!a} is wrong")
                signed_by = f"{name}+{key.id.hex()}"
    if not signed_by:
        raise Refused("checkpoint: it is not signed by a key of the policy")
    return Checkpoint(note, int(size), b64decode(root, validate=True), signed_by)


class Point(NamedTuple):
    """The point (x/z, y/z) of the curve; t is xy/z."""

    x: int
    y: int
    z: int
    t: int


PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, PRIME - 2, PRIME) % PRIME
ZERO = Point(0, 1, 1, 0)


def add(one: Point, two: Point) -> Point:
    a, b = (one.y - one.x) * (two.y - two.x), (one.y + one.x) * (two.y + two.x)
    c, d = 2 * one.t * two.t * CURVE_D, 2 * one.z * two.z
    e, f, g, h = b - a, d - c, d + c, b + a
    return Point(e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME)


def times(number: int, point: Point) -> Point:
    total = ZERO
    while number:
        total = add(total, point) if number % 2 else total
        point, number = add(point, point), number // 2
    return total


def is_same(one: Point, two: Point) -> bool:
    return (one.x * two.z - two.x * one.z) % PRIME == 0 == (one.y * two.z - two.y * one.z) % PRIME


def point_of(data: bytes) -> Point:
    """Returns the point that 32 bytes stand for: y, and in the highest bit whether x is odd."""
    is_odd, y = divmod(int.from_bytes(data, "little"), 2**255)
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, PRIME - 2, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    if len(data) != 32 or y >= PRIME or (x * x - square) % PRIME or (x == 0 and is_odd):
        raise ValueError("not a point of the curve")
    x = x if x % 2 == is_odd else PRIME - x
    return Point(x, y, 1, x * y % PRIME)


BASE = point_of((4 * pow(5, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little"))


def is_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Returns whether s * BASE == R + hash * A, for the public key A and the signature (R, s)."""
    try:
        key, r, s = point_of(public), point_of(signature[:32]), int.from_bytes(signature[32:], "little")
    except ValueError:
        return False
    if len(signature) != 64 or s >= ORDER or is_same(times(8, key), ZERO):
        return False  # another form of the same signature, or a key for which anyone can sign
    hashed = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little")
    return is_same(times(s, BASE), add(r, times(hashed % ORDER, key)))


# ---- Step 4: each event is in the tree of the checkpoint (RFC 6962) --------------------------------------------------


def leaf(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def root_of(hashes: list[bytes]) -> bytes:
    """Returns the root over 1, 2, 4, … 256 hashes."""
    while len(hashes) > 1:
        hashes = [node(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def leads_to(root: bytes, hashed: bytes, place: int, size: int, siblings: list[str]) -> bool:
    """Returns whether a leaf at a place of a tree leads to its root, by the hashes beside its way up."""
    last = size - 1  # the last place at a height
    if not 0 <= place <= last:
        return False
    for sibling in siblings:
        while place == last > 0 and not place & 1:  # nothing stands beside it at this height
            place, last = place >> 1, last >> 1
        beside = b64decode(sibling, validate=True)
        hashed = node(beside, hashed) if place & 1 else node(hashed, beside)
        place, last = place >> 1, last >> 1
    return last == 0 and hashed == root


class Proofs:
    """A file for each event (C2SP tlog-proof): the hashes beside its way up to the root, and the checkpoint."""

    def __init__(self, pack: Pack, checkpoint: Checkpoint) -> None:
        self.pack = pack
        self.checkpoint = checkpoint

    def check(self, index: int, hashed: bytes) -> None:
        name = f"proofs/{index}.tlog-proof"
        head, _, note = self.pack.read(name).decode().partition("\n\n")
        magic, position, *siblings = head.split("\n")
        if (magic, position, note) != ("c2sp.org/tlog-proof@v1", f"index {index}", self.checkpoint.note):
            raise Refused(f"{name}: this is a proof of another index, or of another checkpoint")
        if not leads_to(self.checkpoint.root, hashed, index, self.checkpoint.size, siblings):
            raise Refused(f"events.ndjson, index {index}: {name} does not lead from this event to the signed root")


class Tiles:
    """The hashes of the tree, 256 neighbours in a file (C2SP tlog-tiles); the last file of a level may have fewer."""

    def __init__(self, pack: Pack, checkpoint: Checkpoint) -> None:
        self.pack = pack
        self.last: dict[int, tuple[int, list[bytes]]] = {}  # the last tile of each level: its number, and its hashes
        peaks: list[bytes] = []  # the roots of the largest complete subtrees, from left to right
        for level in range(checkpoint.size.bit_length() // 8, -1, -1):
            number, width = divmod(checkpoint.size >> 8 * level, 256)
            hashes = self.read(level, number, width) if width else []
            self.last[level] = (number, hashes)
            for half in (128, 64, 32, 16, 8, 4, 2, 1):
                if width & half:
                    peaks.append(root_of(hashes[:half]))
                    hashes = hashes[half:]
        root = peaks.pop()
        while peaks:
            root = node(peaks.pop(), root)
        if root != checkpoint.root:
            raise Refused("checkpoint: the incomplete tiles do not lead to its root")
        self.read_last = dict(self.last)

    def read(self, level: int, number: int, width: int) -> list[bytes]:
        *groups, end = f"{number:,}".split(",") if number > 999 else [f"{number:03d}"]  # 1234067 is x001/x234/067
        path = "/".join(["tile", str(level), *(f"x{group:0>3}" for group in groups), end])
        name = path if width == 256 else f"{path}.p/{width}"
        data = self.pack.read(name)
        if len(data) != 32 * width:
            raise Refused(f"{name}: it should have {width} hashes")
        return [data[i : i + 32] for i in range(0, len(data), 32)]

    def hash_at(self, level: int, place: int) -> bytes:
        """Returns a hash of a tile. The root of a complete tile has to be the hash at its place in the level above."""
        number, offset = divmod(place, 256)
        known = self.last[level] if self.last[level][0] == number else self.read_last[level]
        if known[0] != number:
            known = (number, self.read(level, number, 256))
            if root_of(known[1]) != self.hash_at(level + 1, number):
                raise Refused(f"tile {number} of level {level}, from index {number << 8 * level + 8} on: not as signed")
            self.read_last[level] = known
        return known[1][offset]

    def check(self, index: int, hashed: bytes) -> None:
        if self.hash_at(0, index) != hashed:
            raise Refused(f"events.ndjson, index {index}: this event is not the one in the signed tree")


def indexes_of(about: dict[str, Any]) -> Iterator[int]:
    """Returns the index of each event; pack.json writes them as ranges, such as "0-4,7"."""
    for part in about["indexes"].split(",") if about["indexes"] else ():
        first, dash, last = part.partition("-")
        yield from range(int(first), int(last if dash else first) + 1)


def check_events(pack: Pack, about: dict[str, Any], checkpoint: Checkpoint, tree: Proofs | Tiles) -> None:
    """Checks each line of events.ndjson against the tree, and the counts in pack.json against the lines."""
    hashed, count, before, indexes = sha256(), 0, -1, indexes_of(about)
    with pack.open("events.ndjson") as lines:
        for line in lines:
            index = next(indexes, -1)
            if not before < index < checkpoint.size or (count == 0 and index != about["first_index"]):
                raise Refused(f"events.ndjson, line {count + 1}: pack.json has no index for it, or a wrong one")
            tree.check(index, leaf(line.rstrip(b"\n")))
            hashed.update(line)
            count, before = count + 1, index
    for missing in indexes:
        raise Refused(f"events.ndjson, index {missing}: this event is missing")
    if hashed.hexdigest() != about["files"]["events.ndjson"]:
        raise Refused("events.ndjson: its SHA-256 is not the one in pack.json")
    counted = (count, before if count else None, checkpoint.size)
    if counted != (about["count"], about["last_index"], about["checkpoint_size"]):
        raise Refused("pack.json: count, last_index or checkpoint_size is wrong")
    if not about["query"] and count != about["checkpoint_size"]:
        raise Refused("events.ndjson: without a query, a pack has all events of the checkpoint, and some are missing")


# ---- Step 5: all events of a target are in the pack, if it has completeness.json -------------------------------------
#
# When a day (in UTC) or a year is over, the log gets an event "audit.targets_sealed" with the root of another tree. Its
# leaves are all targets of the events of that period, in the order of their keys, each with the indexes of its events.
# So each period, from the first event of the log on, either has a leaf of the target, with its indexes; or has two
# leaves, next to each other, between which the target would stand. Events after the last period are not covered yet.


class AllEvents(NamedTuple):
    """The indexes of all events of a target below ``end``; the day or year until which this is sealed, and by whom."""

    target: tuple[str, str]
    indexes: list[int]
    end: int
    until: str
    roles: set[str]


def read_completeness(pack: Pack, checkpoint: Checkpoint) -> AllEvents:
    """Goes through the periods, which have to follow each other without a gap."""
    proof = json.loads(pack.read("completeness.json").decode())
    if (proof["completeness_version"], proof["size"]) != (1, checkpoint.size):
        raise Refused("completeness.json: it is of another version, or for another checkpoint")
    target = proof["target"]["type"], proof["target"]["id"]
    key = sha256("\0".join(target).encode()).digest()
    indexes: list[int] = []
    roles: set[str] = set()
    end, until, next_day = 0, "", None
    for part in proof["periods"]:
        event = sealing_event(part, checkpoint)
        sealed = event["data"]
        first_day, day_after = days_of(sealed["period"])
        if sealed["first"] != end or next_day not in (None, first_day):
            raise Refused(f"completeness.json, {sealed['period']}: what comes before it is not covered")
        indexes += indexes_in(part, sealed, key)
        roles.add(event["recorded_by"])
        end, until, next_day = sealed["end"], sealed["period"], day_after
    if end == 0:
        raise Refused("completeness.json: no event is sealed")
    return AllEvents(target, indexes, end, until, roles)


def sealing_event(part: dict[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the event of a period, which has to be in the signed tree."""
    text, index = part["event"], part["index"]
    if not leads_to(checkpoint.root, leaf(text.encode()), index, checkpoint.size, part["proof"]):
        raise Refused(f"completeness.json: event {index} is not in the signed tree")
    event: dict[str, Any] = json.loads(text)
    if event["action"] != "audit.targets_sealed" or not event["data"]["first"] <= event["data"]["end"] <= index:
        raise Refused(f"completeness.json: event {index} does not seal the events of a period before it")
    if event.get("actor"):  # the database lets only a worker record this action without an actor
        raise Refused(f"completeness.json: event {index} was not recorded by a worker")
    return event


def days_of(period: str) -> tuple[date, date]:
    """Returns the first day of a day or a year, and the day after it."""
    if len(period) == 4:
        return date(int(period), 1, 1), date(int(period) + 1, 1, 1)
    day = date.fromisoformat(period)
    return day, day + timedelta(days=1)


def indexes_in(part: dict[str, Any], sealed: dict[str, Any], key: bytes) -> list[int]:
    """Returns the indexes of the target in a period."""
    if "member" in part:
        indexes: list[int] = part["member"]["indexes"]
        if indexes != sorted(set(indexes)) or not sealed["first"] <= indexes[0] <= indexes[-1] < sealed["end"]:
            raise Refused(f"completeness.json, {sealed['period']}: these indexes are not those of the period")
        check_leaf(part["member"], sealed, key, sha256(b"".join(i.to_bytes(8, "big") for i in indexes)).digest())
        return indexes
    left, right = part["left"], part["right"]  # null at an end of the tree
    if (left["position"] + 1 if left else 0) != (right["position"] if right else sealed["targets"]):
        raise Refused(f"completeness.json, {sealed['period']}: there is room for the target between the neighbours")
    for neighbour in filter(None, (left, right)):
        other = b64decode(neighbour["key"], validate=True)
        if not (other < key if neighbour is left else key < other):
            raise Refused(f"completeness.json, {sealed['period']}: the target does not stand between the neighbours")
        check_leaf(neighbour, sealed, other, b64decode(neighbour["digest"], validate=True))
    return []


def check_leaf(given: dict[str, Any], sealed: dict[str, Any], key: bytes, digest: bytes) -> None:
    """Checks that the tree of a period has a leaf at its position."""
    root, size = b64decode(sealed["root"], validate=True), sealed["targets"]
    if len(key) != 32 or not leads_to(root, leaf(key + digest), given["position"], size, given["proof"]):
        raise Refused(f"completeness.json, {sealed['period']}: a leaf is not in the tree of the period")


def check_complete(pack: Pack, about: dict[str, Any], found: AllEvents) -> None:
    """Checks that the pack has these events, that others only come after them, and that each names the target."""
    name = ":".join(found.target)
    is_plain = not any(character in ',"' or character.isspace() for character in name)
    quoted = name if is_plain else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if ":" in found.target[0] or about["query"] != f"target:{quoted}":
        raise Refused("completeness.json: it is for another target than the query in pack.json")
    sealed = set(found.indexes)
    for index in sorted({index for index in indexes_of(about) if index < found.end} ^ sealed):
        raise Refused(
            f"events.ndjson: event {index} is {'missing' if index in sealed else 'not among the sealed ones'}"
        )
    with pack.open("events.ndjson") as lines:
        for index, line in zip(indexes_of(about), lines):
            if found.target not in [(each["type"], each["id"]) for each in json.loads(line).get("targets", ())]:
                raise Refused(f"events.ndjson: event {index} does not name the target")


# ---- All steps -------------------------------------------------------------------------------------------------------


def verify(path: Path, policy: Path | None) -> None:
    pack = Pack(path)
    about = check_files(pack)
    print(f"The {len(about['files'])} files are those that pack.json lists, and there are no others.")
    is_complete = "completeness.json" in about["files"]
    if about["count"] == 0 and not is_complete:
        raise Unchecked("the pack has no events, so there is nothing to check")
    own = pack.read("policy").decode()
    if about["vkeys"] != [line.split()[1] for line in own.splitlines() if line.split()[:1] == ["log"]]:
        raise Refused("pack.json: vkeys are not the keys of the file policy")
    keys, quorum = read_policy(policy.read_text("utf-8") if policy else own)
    checkpoint = read_checkpoint(pack, keys)
    tree = Tiles(pack, checkpoint) if about["proofs"] == "tiles" else Proofs(pack, checkpoint)
    check_events(pack, about, checkpoint, tree)
    found = read_completeness(pack, checkpoint) if is_complete else None
    for name in sorted(set(about["files"]) - pack.used - ALWAYS):
        raise Refused(f"{name!a}: no event of the pack needs this file")
    print(f"A checkpoint of the first {checkpoint.size} events is signed by {checkpoint.signed_by!a}.")
    if about["count"]:
        first, last = about["first_index"], about["last_index"]
        print(f"Each of the {about['count']} events, index {first} to {last}, is one of these.")
    if found:
        check_complete(pack, about, found)
        print_complete(about, found)
    elif about["query"]:
        print(f"Not shown: that these are all events for the query {about['query']!a}.")
    else:
        print("The pack has all of them.")
    if not policy:
        print("Not shown: who signed. The key is from the pack itself: use --policy FILE, with a key from elsewhere.")
    if quorum != "none":
        raise Unchecked(f"the policy asks for witnesses, {quorum!a}: `pgaudit verify-pack` checks their signatures")


def print_complete(about: dict[str, Any], found: AllEvents) -> None:
    these_are = "These are all" if found.indexes else "There are no"
    until = f"up to index {found.end - 1}, sealed until the end of {found.until} (UTC)"
    print(f"{these_are} events of {':'.join(found.target)!a} {until}.")
    later = about["count"] - len(found.indexes)
    print(f"After that, the pack has {later} event{'s' * (later != 1)}. Not shown yet: whether there are more.")
    roles = ", ".join(sorted(map(ascii, found.roles)))
    print(f"Sealed in the database by the role {roles}, which should be that of the worker.")


def main(arguments: list[str]) -> int:
    at = arguments.index("--policy") if "--policy" in arguments[:-1] else None
    policy = None if at is None else Path(arguments[at + 1])
    rest = arguments if at is None else arguments[:at] + arguments[at + 2 :]
    if len(rest) > 1 or (rest and rest[0].startswith("-")):
        print("usage: python3 verify.py [--policy FILE] [PACK]")
        return 2
    try:
        verify(Path(rest[0]) if rest else Path(__file__).resolve().parent, policy)
    except (Refused, zipfile.BadZipFile) as error:
        print(f"NOT VERIFIED: {error}")
        return 1
    except (Unchecked, OSError) as error:
        print(f"COULD NOT CHECK: {error}")
        return 2
    except Exception as error:  # noqa: BLE001 - what this program does not understand, it has not verified
        print(f"COULD NOT CHECK: pack or policy cannot be read: {error!r}")
        return 2
    print("VERIFIED.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
