"""A hook of mkdocs: the site shows the version, and a link to the repository that the checkout was cloned from."""

import re
import subprocess
from typing import Final

from mkdocs.config.defaults import MkDocsConfig

from docs.source import ROOT
from pgaudit import __version__

PUBLIC: Final = re.compile(r"(?:https://(?:[^@/]+@)?|git@|ssh://git@)(?P<host>[^/:]+)[/:](?P<path>.+?)(?:\.git)?/?")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Completes the settings of mkdocs.yml."""
    config.site_name = f"{config.site_name} {__version__}"
    if url := repository(remote()):
        config.repo_url, config.repo_name = url, url.rpartition("/")[2]
    return config


def remote() -> str:
    """Returns the address of the checkout's ``origin``; nothing when it has none."""
    command = ["git", "-C", str(ROOT), "config", "--get", "remote.origin.url"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - constants
    return result.stdout.strip()


def repository(address: str) -> str | None:
    """Returns the web page of a repository on a host; None for a directory or another program's address."""
    match = PUBLIC.fullmatch(address)
    return f"https://{match['host']}/{match['path']}" if match else None
