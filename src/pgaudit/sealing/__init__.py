"""Sealing the log: its Merkle tree, and signed checkpoints of it, in the formats of C2SP.

===============  =====================================================================
``sealer``       extends the tree and signs it, in one process at a time
``signer``       the keys of a log; refuses a log other than the one it has signed
``keys``         the files of a signer: keys, public keys, and what it has signed last
``stored_tree``  the tree in the database
``signing``      signatures, made and verified
``notes``        signed notes, checkpoints and public keys as text
``tiles``        the tree as tiles of 256 hashes
``levels``       how far a log that verifies can be trusted
``tree``         roots and proofs of RFC 6962
===============  =====================================================================
"""
