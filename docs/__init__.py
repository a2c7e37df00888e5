"""The documentation: its pages, the programs that they show, and what makes its tables."""
