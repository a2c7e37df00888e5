"""Anchors: places outside the database that get each signed checkpoint.

==========  =====================================================
anchor      what an anchor is
directory   ``file:``, files that are never overwritten
endpoint    ``https:``, a POST
bucket      ``s3:``, objects that are locked
timestamps  ``rfc3161+https:``, time stamps
witness     ``witness+https:``, cosignatures
transport   HTTP, for all of them but directory and bucket
==========  =====================================================
"""

from pgaudit._anchor_urls import AnchorURL, parse_anchors
from pgaudit._environment import variable_of
from pgaudit.errors import InvalidSettings
from pgaudit.sealing.anchors.anchor import Anchor, ReadableAnchor
from pgaudit.sealing.anchors.directory import Directory
from pgaudit.sealing.anchors.endpoint import Endpoint
from pgaudit.settings import Settings

__all__ = ["Anchor", "ReadableAnchor", "anchor_at", "anchors_of"]


def anchors_of(settings: Settings) -> list[Anchor]:
    """Returns the anchors that the settings name.

    :raises InvalidSettings: one of them cannot be used as it is given.
    :raises MissingExtra: the packages of one of them are not installed.
    """
    given = settings.anchors.get_secret_value() if settings.anchors else ""
    try:
        return [opened(url) for url in parse_anchors(given)]
    except InvalidSettings as error:
        raise InvalidSettings(f"{variable_of('anchors')}: {error}") from None


def anchor_at(url: str) -> Anchor:
    """Returns the anchor of a URL.

    :raises InvalidSettings: it is no anchor; the message does not show what may be secret.
    :raises MissingExtra: its packages are not installed.
    """
    try:
        parsed = AnchorURL.parse(url)
    except ValueError as error:
        raise InvalidSettings(str(error)) from None
    return opened(parsed)


def opened(url: AnchorURL) -> Anchor:
    """Returns the anchor of a URL. Those that need further packages are imported when they are used."""
    match url.kind:
        case "file":
            return Directory.of(url)
        case "s3":
            from pgaudit.sealing.anchors.bucket import Bucket  # noqa: PLC0415 - as above

            return Bucket.of(url)
        case "rfc3161":
            from pgaudit.sealing.anchors.timestamps import TimeStamps  # noqa: PLC0415 - as above

            return TimeStamps.of(url)
        case "witness":
            from pgaudit.sealing.anchors.witness import Witness  # noqa: PLC0415 - as above

            return Witness.of(url)
        case _:
            return Endpoint.of(url)
