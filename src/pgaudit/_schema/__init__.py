"""The schema as it is installed: its version, its owner, and what was changed in it by hand."""
