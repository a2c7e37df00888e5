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
- The client's address is kept whole, shortened or left out, as ``PGAUDIT_CLIENT_ADDRESS`` says.
- ``User-Agent``: its first ``PGAUDIT_USER_AGENT_LENGTH`` characters, 500 by default, the unprintable ones left out.

The actor is never read from a header. ``actor`` is a function of yours, given the scope, the environ or the request,
that returns an :class:`~pgaudit.Actor`, "user:42", or None when nobody is logged in. It is called when an event is
recorded: a request that records nothing costs no query, and a user who logs in is named from then on. A name that no
event could hold is shortened or marked, and logged once; what the function raises reaches ``record``'s caller.
:func:`pgaudit.identify` names the actor from inside the application.

A request starts with nothing bound. What was bound outside of it, by an earlier request of the same thread or by an
outer middleware, is not given to its events.
"""

from pgaudit.middleware.asgi import AsgiMiddleware
from pgaudit.middleware.wsgi import WsgiMiddleware

__all__ = ["AsgiMiddleware", "WsgiMiddleware"]
