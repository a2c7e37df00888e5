"""Which certificates of servers are trusted."""

import ssl

from pgaudit.streams.outcomes import DestinationRefused
from pgaudit.streams.urls import StreamURL


def tls_context(url: StreamURL) -> ssl.SSLContext:
    """Returns the TLS context: it trusts the certificates of the system, or only those of the file ``ca``.

    :raises DestinationRefused: the file cannot be read.
    """
    path = url.option("ca") or None
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        reason = "no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise DestinationRefused(f"the certificates of ca={path} cannot be used: {reason}") from None
