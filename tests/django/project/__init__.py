"""A typical Django project with its own login, API keys and signal receivers, and without ATOMIC_REQUESTS."""
