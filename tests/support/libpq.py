"""Simulates a Python installation without libpq."""

# A sitecustomize.py: psycopg has neither its own binary nor the system's libpq.
WITHOUT_LIBPQ = """
import ctypes.util, sys
sys.modules["psycopg_binary"] = sys.modules["psycopg_c"] = None
ctypes.util.find_library = lambda name: None
"""
