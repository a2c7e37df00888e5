"""Operates streams: pauses, resumes and rewinds them, and replays a range."""

from typing import Final

from pgaudit.streams.changes import change

PAUSE: Final = "SELECT pgaudit.pause_stream(%(name)s, 'asked', %(reason)s)"
RESUME: Final = "SELECT pgaudit.resume_stream(%(name)s)"
REPLAY: Final = "SELECT pgaudit.replay_stream(%(name)s, %(first)s, %(last)s)"
STOP_REPLAY: Final = "SELECT pgaudit.stop_replay(%(name)s)"
REWIND: Final = "SELECT pgaudit.rewind_stream(%(name)s, %(index)s)"


def pause(conn: object, name: str, reason: str | None = None) -> None:
    """Pauses a stream. Nothing is lost: it continues where it stopped.

    :raises StreamNotFound: there is none of that name.
    """
    change(conn, PAUSE, {"name": name, "reason": reason})


def resume(conn: object, name: str) -> None:
    """Resumes a stream, and lets workers try to send at once.

    :raises StreamNotFound: there is none of that name.
    """
    change(conn, RESUME, {"name": name})


def rewind(conn: object, name: str, index: int) -> None:
    """Moves a stream to the event at an index: an earlier one to send again, or a later one to skip those in between.

    :raises StreamNotFound: there is none of that name.
    :raises InvalidStream: the log has no such index.
    """
    change(conn, REWIND, {"name": name, "index": index})


def replay(conn: object, name: str, first: int, last: int) -> None:
    """Lets workers send a range again, both ends included, while there is nothing newer to send.

    :raises StreamNotFound: there is none of that name.
    :raises InvalidStream: the stream has not passed these events yet, or another replay of it is under way.
    """
    change(conn, REPLAY, {"name": name, "first": first, "last": last})


def stop_replay(conn: object, name: str) -> bool:
    """Stops a replay. Returns whether there was one.

    :raises StreamNotFound: there is none of that name.
    """
    return bool(change(conn, STOP_REPLAY, {"name": name}))
