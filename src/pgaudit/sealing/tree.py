"""The Merkle tree of RFC 6962 (and 9162): hashes, roots and proofs. Nothing here reads or writes.

A tree of ``size`` leaves is made of complete subtrees. ``node(level, number)`` returns the hash of one: of the
``2**level`` leaves from ``number << level``.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

Node = Callable[[int, int], bytes]
HASH_SIZE: Final = 32
LEAF: Final = b"\x00"
INNER: Final = b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """Returns the hash of a leaf."""
    return sha256(LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns the hash of a node with these two children."""
    return sha256(INNER + left + right).digest()


def parents(hashes: Sequence[bytes]) -> list[bytes]:
    """Returns the hashes one level up; there is an even number of hashes."""
    pairs = iter(hashes)
    return [sha256(INNER + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """Returns the root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = parents(hashes)
    return hashes[0]


def list_root(hashes: Sequence[bytes]) -> bytes:
    """Returns the root over any number of hashes, at least one; the last may be that of an incomplete subtree."""
    if len(hashes) == 1:
        return hashes[0]
    middle = split(len(hashes))
    return node_hash(complete_root(hashes[:middle]), list_root(hashes[middle:]))


def split(size: int) -> int:
    """Returns the largest power of two below ``size``, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def range_hash(first: int, end: int, node: Node) -> bytes:
    """Returns the hash of the subtree over the leaves ``[first, end)``, as it occurs in a tree."""
    size = end - first
    if size & (size - 1) == 0 and first % size == 0:
        level = size.bit_length() - 1
        return node(level, first >> level)
    middle = first + split(size)
    return node_hash(range_hash(first, middle, node), range_hash(middle, end, node))


def root(size: int, node: Node) -> bytes:
    """Returns the root of the first ``size`` leaves; of none, the hash of nothing."""
    return range_hash(0, size, node) if size else sha256().digest()


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Returns the hashes that lead from a leaf to the root, the sibling of the leaf first.

    :raises ValueError: the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size:,} leaves has no leaf {index:,}")
    first, end, proof = 0, size, list[bytes]()
    while end - first > 1:
        middle = first + split(end - first)
        if index < middle:
            proof.append(range_hash(middle, end, node))
            end = middle
        else:
            proof.append(range_hash(first, middle, node))
            first = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Returns the hashes that show that a tree begins with another one.

    :raises ValueError: the other one is larger, or empty.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {new:,} leaves cannot be compared with one of {old:,}")
    return consistency_path(0, new, old, node, is_whole=True)


def consistency_path(first: int, end: int, old: int, node: Node, *, is_whole: bool) -> list[bytes]:
    """Returns the proof within ``[first, end)``; ``is_whole`` says that the verifier knows the hash of ``[0, old)``."""
    if old == end:
        return [] if is_whole else [range_hash(first, end, node)]
    middle = first + split(end - first)
    if old <= middle:
        return [*consistency_path(first, middle, old, node, is_whole=is_whole), range_hash(middle, end, node)]
    return [*consistency_path(middle, end, old, node, is_whole=False), range_hash(first, middle, node)]


def root_of_proof(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Returns the root that an inclusion proof leads to.

    :raises ValueError: the proof has too many or too few hashes for a tree of that size.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size:,} leaves has no leaf {index:,}")
    node, last, hashed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if node % 2 or node == last:
            hashed = node_hash(sibling, hashed)
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return hashed
