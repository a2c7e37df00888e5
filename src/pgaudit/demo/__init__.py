"""``pgaudit demo``: a claims application, two workers, one killed half way, and a final count.

=================  ==================================================================
``orchestration``  starts the server, the scenario and the screen, one after the other
``scenario``       what happens when: the application works, a worker is killed
``claims``         the application, written to be read and copied
``workload``       one process of the application at work
``processes``      starts and ends the processes
``server``         starts and removes the database
``counts``         what is read from the database meanwhile
``rates``          changes and events per second
``screen``         shows it, on a terminal or line by line
``verification``   counts changes and events at the end; ``report`` prints the result
``dashboard``      keeps the dashboard up afterwards, if that is wanted
=================  ==================================================================
"""

from pathlib import Path

from pgaudit.demo.server import own_environment
from pgaudit.errors import MissingExtra


def run(*, seconds: float = 15.0, directory: Path | None = None, serve: bool = False) -> bool:
    """Runs the demo on an embedded server. Returns whether every change has its event, once.

    :param seconds: how long the application runs.
    :param directory: where the server keeps its data; a temporary one, removed at the end, when left out.
    :param serve: keep the dashboard up afterwards, on this machine only, until Ctrl-C.
    :raises MissingExtra: rich, the dashboard's packages or the server's binaries are not installed.
    """
    with own_environment():
        try:
            from pgaudit.demo.orchestration import play  # noqa: PLC0415 - it draws with an extra, and reads the environment
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "rich":
                raise
            raise MissingExtra('The demo draws with rich: pip install "pgaudit[cli,embedded]"') from error
        return play(seconds, directory, serve=serve)
