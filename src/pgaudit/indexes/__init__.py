"""Indexes of the audit log that its owner chooses, for searches that the log's own indexes do not serve.

They can be added while events are appended, and every new partition gets them. ``expressions`` says what a name stands
for, ``catalog`` which indexes there are, ``changing`` adds and removes them.
"""

from pgaudit.indexes.catalog import CHOSEN_NAMES, ChosenIndex, list_indexes
from pgaudit.indexes.changing import Step, add, remove
from pgaudit.indexes.expressions import condition

__all__ = ["CHOSEN_NAMES", "ChosenIndex", "Step", "add", "condition", "list_indexes", "remove"]
