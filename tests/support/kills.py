"""Workers that are killed with SIGKILL at an exact moment: before or after the n-th thing that they do to the disk."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgaudit.streams import positions, s3_bucket
from pgaudit.streams.destinations import file, parquet, s3
from tests.support.streams import send_all

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
METHODS: list[tuple[Any, str]] = [
    (os, "fsync"), (os, "truncate"), (Path, "replace"), (Path, "unlink"), (positions, "move"),
    (s3_bucket.Bucket, "put"),
]  # fmt: skip
CHUNK = 7  # events: so that a few events are several chunks


def send_until_killed(dsn: str, name: str, moment: int) -> bool:
    """Sends what a stream has in a process that dies at that moment; returns False if it ended before."""
    process = CONTEXT.Process(target=send_and_die, args=(dsn, name, moment, dict(os.environ)))
    process.start()
    process.join()
    code = process.exitcode
    process.close()
    assert code in {0, -signal.SIGKILL}
    return code != 0


def send_and_die(dsn: str, name: str, moment: int, environment: dict[str, str]) -> None:
    """Sends what a stream has, and kills this process at that moment."""
    os.environ.update(environment)
    moments = iter(range(1, moment))

    def pass_moment() -> None:
        if next(moments, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        for owner, method in METHODS:
            patch.setattr(owner, method, between_moments(getattr(owner, method), pass_moment))
        patch.setattr(os, "fdopen", writing_halves(os.fdopen, pass_moment))
        for kind in (file.Files, parquet.ParquetFiles):
            patch.setattr(kind, "limits", replace(kind.limits, events=CHUNK))
        patch.setattr(s3, "LINGER_SECONDS", 0)
        patch.setattr(parquet, "GRACE", -parquet.HOUR)
        send_all(dsn, name)


def between_moments(function: Callable[..., Any], pass_moment: Callable[[], None]) -> Callable[..., Any]:
    """Returns a function with a moment before and after it."""

    def called(*arguments: Any, **options: Any) -> Any:
        pass_moment()
        result = function(*arguments, **options)
        pass_moment()
        return result

    return called


def writing_halves(opened: Callable[..., Any], pass_moment: Callable[[], None]) -> Callable[..., Any]:
    """Returns a function that opens files which have a moment in the middle of what is written."""

    def fdopen(*arguments: Any, **options: Any) -> Any:
        stream = opened(*arguments, **options)
        write = stream.write

        def write_halves(data: bytes) -> int:
            middle = len(data) // 2
            write(data[:middle])
            stream.flush()
            pass_moment()
            return middle + int(write(data[middle:]))

        if stream.writable():
            stream.write = write_halves
        return stream

    return fdopen
