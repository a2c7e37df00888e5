"""Helpers of the tests, one of each kind.

A helper that commits has ``commit`` in its name. All others leave the caller's transaction open.
"""
