"""The files that the documentation offers agree with each other and with the package."""

import configparser
import re
import tomllib
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # it ships no types

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs" / "files"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_the_stop_of_a_service_outlasts_the_shutdown_of_a_worker() -> None:
    """Otherwise a worker that gives its jobs back in time would be killed before."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as the library's manual does it
    unit.read(FILES / "pgaudit-worker.service")
    (timeout,) = re.findall(r"PGAUDIT_SHUTDOWN_TIMEOUT=(\d+)", (FILES / "pgaudit-worker.service").read_text())
    assert int(unit["Service"]["TimeoutStopSec"]) > int(timeout)
    pod = yaml.safe_load((FILES / "worker.yaml").read_text())["spec"]["template"]["spec"]
    (timeout,) = re.findall(r"PGAUDIT_SHUTDOWN_TIMEOUT=(\d+)", (FILES / "Dockerfile").read_text())
    assert pod["terminationGracePeriodSeconds"] > int(timeout)


def test_the_image_installs_extras_that_exist() -> None:
    """And serves its probe on the port that the deployment asks."""
    image = (FILES / "Dockerfile").read_text()
    (extras,) = re.findall(r"pgaudit\[([\w,]+)\]", image)
    assert set(extras.split(",")) <= set(EXTRAS)
    (container,) = yaml.safe_load((FILES / "worker.yaml").read_text())["spec"]["template"]["spec"]["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert f"PGAUDIT_HEALTH_PORT={container[probe]['httpGet']['port']}" in image
    assert "PGAUDIT_HEALTH_HOST=0.0.0.0" in image  # the probes come from outside of the container
