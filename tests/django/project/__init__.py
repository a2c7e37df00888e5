"""A project like many: authentication and API keys of its own, signals, and no ATOMIC_REQUESTS."""
