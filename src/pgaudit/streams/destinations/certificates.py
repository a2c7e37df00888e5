"""Which certificates of servers are trusted."""

import ssl

from pgaudit.streams.outcomes import DestinationRefused
from pgaudit.streams.urls import StreamURL


def context_of(url: StreamURL) -> ssl.SSLContext:
    """Returns what certificates are checked with: those that the system trusts, or those of ``ca`` alone.

    :raises DestinationRefused: the file cannot be read.
    """
    path = url.option("ca") or None
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        reason = "no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise DestinationRefused(f"the certificates of ca={path} cannot be used: {reason}") from None
