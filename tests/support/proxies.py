"""Transparent proxies, such as the wrappers that tracing agents put around connections."""

from typing import Any


class Proxy:
    """Wraps another object: isinstance() sees the wrapped class, type() sees the proxy."""

    def __init__(self, wrapped: Any) -> None:
        object.__setattr__(self, "_wrapped", wrapped)

    @property  # type: ignore[misc]  # a proxy answers for what it wraps
    def __class__(self) -> Any:
        return type(self._wrapped)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_wrapped"), name)
