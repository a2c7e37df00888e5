"""Migrations of the claims."""
