"""The tree: roots and proofs against other implementations, and a vector that the docs publish."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from tlog_scales.tlog import ConsistencyProof, InclusionProof

from pgaudit.sealing import tree
from pgaudit.sealing.tiles import WIDTH, Tile, TiledTree, partial_widths, tile_path

SIZES = [1, 2, 3, 4, 5, 7, 8, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 66_049, 70_000, 131_333]


def leaves(size: int) -> list[bytes]:
    """Returns that many leaf hashes."""
    return [tree.leaf_hash(b"%d" % number) for number in range(size)]


def plain_root(hashes: Sequence[bytes]) -> bytes:
    """The definition of RFC 6962, word for word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    middle = 1
    while middle * 2 < len(hashes):
        middle *= 2
    return sha256(b"\x01" + plain_root(hashes[:middle]) + plain_root(hashes[middle:])).digest()


def tiled(hashes: Sequence[bytes]) -> TiledTree:
    """The tree of these leaves, from tiles that are built as the worker builds them."""
    tiles: dict[tuple[int, int], bytes] = {}
    level, partials = 0, list[bytes]()
    while hashes:
        whole = len(hashes) // WIDTH
        made = [Tile.of(level, n, b"".join(hashes[n * WIDTH : (n + 1) * WIDTH])) for n in range(whole)]
        tiles |= {(tile.level, tile.number): tile.hashes for tile in made}
        partials.append(b"".join(hashes[whole * WIDTH :]))
        level, hashes = level + 1, [tile.root for tile in made]
    size = len(partials[0]) // tree.HASH_SIZE + WIDTH * sum(1 for lvl, _ in tiles if lvl == 0)
    return TiledTree(size, lambda level, number: tiles[level, number], partials)


@pytest.mark.parametrize("size", SIZES)
def test_the_root_of_tiles_is_that_of_the_definition(size: int) -> None:
    """For sizes around the limits of tiles, of three levels."""
    hashes = leaves(size)
    assert tree.root(size, tiled(hashes).node) == plain_root(hashes)


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    """As the standard says."""
    assert tree.root(0, lambda _level, _number: b"") == sha256().digest()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 300, 66_049])
def test_each_leaf_is_proved_and_no_other_text(size: int) -> None:
    """Another implementation accepts the proof; with another leaf or another hash it leads to another root."""
    hashes = leaves(size)
    tiles = tiled(hashes)
    root = plain_root(hashes)
    for index in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        proof = tree.inclusion_proof(index, size, tiles.node)
        InclusionProof(index, size, proof).check(hashes[index], root)
        assert tree.root_of_proof(hashes[index], index, size, proof) == root
        assert tree.root_of_proof(tree.leaf_hash(b"other"), index, size, proof) != root
        for position in range(len(proof)):
            swapped = [*proof[:position], bytes(32), *proof[position + 1 :]]
            assert tree.root_of_proof(hashes[index], index, size, swapped) != root


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 7), (6, 8), (256, 257), (255, 70_000), (65_536, 66_049)])
def test_a_tree_is_shown_to_begin_with_an_older_one(old: int, new: int) -> None:
    """Another implementation accepts the proof; the root of the older tree comes from the same tiles."""
    hashes = leaves(new)
    tiles = tiled(hashes)
    proof = tree.consistency_proof(old, new, tiles.node)
    ConsistencyProof(old, new, proof).check(plain_root(hashes[:old]), plain_root(hashes))
    assert tree.root(old, tiles.node) == plain_root(hashes[:old])


@pytest.mark.parametrize(("index", "size"), [(5, 5), (-1, 5), (0, 0)])
def test_a_leaf_that_is_not_there_has_no_proof(index: int, size: int) -> None:
    """Behind the end, or before the beginning."""
    with pytest.raises(ValueError, match="has no leaf"):
        tree.inclusion_proof(index, size, tiled(leaves(5)).node)


def test_proofs_of_another_length_are_refused() -> None:
    """They could not be for a tree of that size."""
    hashes = leaves(5)
    proof = tree.inclusion_proof(3, 5, tiled(hashes).node)
    with pytest.raises(ValueError, match="too short"):
        tree.root_of_proof(hashes[3], 3, 5, proof[:-1])
    with pytest.raises(ValueError, match="too long"):
        tree.root_of_proof(hashes[3], 3, 5, [*proof, bytes(32)])


def test_incomplete_tiles_have_the_widths_of_the_size() -> None:
    """And a tree that is given others is refused."""
    assert partial_widths(70_000) == [112, 17, 1]
    with pytest.raises(ValueError, match="incomplete tiles"):
        TiledTree(70_000, lambda _level, _number: b"", [bytes(32)])


def test_paths_are_those_of_the_standard() -> None:
    """In groups of three digits, with the width of an incomplete tile."""
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path(2, 5, 17) == "tile/2/005.p/17"
