"""Gives the events of a web request their request id, trace, client address, user agent and actor.

=====================================================  ===================================================
``AsgiMiddleware(app)``                                Starlette, FastAPI and every other ASGI application
``WsgiMiddleware(app)``                                Flask and every other WSGI application
``"pgaudit.middleware.django.audit_middleware"``       in Django's ``MIDDLEWARE``
=====================================================  ===================================================

>>> app = AsgiMiddleware(app, actor=lambda scope: scope.get("user_id") and f"user:{scope['user_id']}")

What the client says is bound as it was said, and no header breaks a request:

- ``X-Request-ID``: taken if it is at most 200 printable ASCII characters, else made; the response carries it.
- ``traceparent``: taken if it is valid by W3C Trace Context; ``span_id`` is the caller's span.
- ``X-Forwarded-For``: believed only of proxies in ``PGAUDIT_TRUSTED_PROXIES``. There are none by default.
- ``User-Agent``: its first 500 characters, the unprintable ones left out.

The actor is never read from a header: ``actor`` is a function of yours, given the scope, the environ or the
request, that returns an :class:`~pgaudit.Actor`, "user:42", or None when nobody is logged in. What it
raises, and InvalidEvent for what no event could hold, reaches the server. Place the middleware inside of what
authenticates.
"""

from pgaudit.middleware.asgi import AsgiMiddleware
from pgaudit.middleware.wsgi import WsgiMiddleware

__all__ = ["AsgiMiddleware", "WsgiMiddleware"]
