"""Packs: events with the proof that they are in the signed log, for readers without the database and pgaudit.

===============  ==============================================================================
``output``       writing a pack while an export reads the log
``evidence``     its proofs: one for each event, or tiles of the tree
``complete``     the proof that the events are all those of a target
``staging``      its files while it is unfinished, and as a directory or zip file
``readme``       its text for people
``checking``     verifying a pack
``leaves``       whether an event is in the signed tree
``source``       the files of a pack, read from a directory or zip file
``description``  ``pack.json``: what a pack has
``proof``        the file of one proof, C2SP ``tlog-proof``
``layout``       the names of the files
``verify``       the program in each pack: the same check again, without pgaudit or any other package
===============  ==============================================================================
"""
