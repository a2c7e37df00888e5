"""Migrations of the monitors."""
