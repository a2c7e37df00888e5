"""Claims, whose changes are tracked."""
