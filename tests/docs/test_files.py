"""Checks that the files for deployment are accepted by their tools and agree with each other and with the pages."""

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from shutil import copy, copytree

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

import pgaudit
from tests.docs.printed import blocks, commands
from tests.support.pgbouncer import free_port
from tests.support.processes import worker_process
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs" / "files"
UNIT = (FILES / "pgaudit-worker.service").read_text()
IMAGE = (FILES / "Dockerfile").read_text().replace("\\\n", " ")
DEPLOYMENT, BUDGET = yaml.safe_load_all((FILES / "worker.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def instructions(name: str) -> list[str]:
    """Returns the arguments of each instruction of that name in the Dockerfile."""
    return re.findall(rf"^{name} +(.+)$", IMAGE, re.MULTILINE)


def setting(name: str, text: str) -> str:
    """Returns the value of the environment variable that a file sets."""
    (value,) = re.findall(rf"\b{name}=(\S+)", text)
    return str(value)


def unit_sections() -> configparser.ConfigParser:
    """Returns the sections of the unit, each with its keys."""
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.read_string(UNIT)
    return parsed


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy of the unit whose program exists on this machine."""
    path = tmp_path / "pgaudit-worker@.service"
    path.write_text(UNIT.replace("ExecStart=/opt/claims/venv/bin/pgaudit", f"ExecStart={sys.executable}"))
    return path


@pytest.mark.systemd
def test_systemd_accepts_the_unit(unit: Path) -> None:
    """``systemd-analyze verify`` accepts the unit as a service and as a template for several workers."""
    for name in ("pgaudit-worker.service", "pgaudit-worker@1.service"):
        path = unit.with_name(name)
        path.write_text(unit.read_text())
        checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.systemd
def test_the_unit_has_the_security_rating_of_the_page(unit: Path) -> None:
    """``systemd-analyze security`` rates the unit as the page says."""
    service = unit.rename(unit.with_name("pgaudit-worker.service"))
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(service)]
    rating = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (promised,) = re.findall(r"gives this unit ([\d.]+)", (ROOT / "docs/operate/systemd.md").read_text())
    assert f": {promised} OK" in rating


def test_the_unit_creates_the_spool_for_its_user() -> None:
    """systemd creates the spool directory for the worker's user alone, because a spool refuses any other."""
    service = unit_sections()["Service"]
    assert f"/var/lib/{service['StateDirectory']}" == setting("PGAUDIT_SPOOL_DIR", UNIT)
    assert service["StateDirectoryMode"] == "0700"
    assert "ReadWritePaths" not in service


def test_systemd_waits_until_the_worker_has_shut_down() -> None:
    """systemd kills the worker only after the worker's own shutdown timeout."""
    assert int(unit_sections()["Service"]["TimeoutStopSec"]) > int(setting("PGAUDIT_SHUTDOWN_TIMEOUT", UNIT))


def test_the_documentation_of_the_unit_is_a_page() -> None:
    """``Documentation=`` in the unit leads to a file of this repository."""
    assert (ROOT / unit_sections()["Unit"]["Documentation"].partition("/pgaudit/")[2]).is_file()


def test_the_commands_of_the_systemd_page_start_the_unit() -> None:
    """The commands install the unit as a template, have systemd read it, and enable two workers."""
    (session,) = blocks("docs/operate/systemd.md", "console")
    install, *rest = commands(session)
    assert Path(install.split()[-2]).name == "pgaudit-worker.service"
    assert install.split()[-1] == "/etc/systemd/system/pgaudit-worker@.service"
    assert rest[0].split("#")[0].strip() == "systemctl daemon-reload"
    assert "enable --now pgaudit-worker@1 pgaudit-worker@2" in rest[1]


def test_the_image_is_made_of_what_a_clone_has(tmp_path: Path) -> None:
    """The files that the Dockerfile copies are enough to build pgaudit with its migrations."""
    for arguments in instructions("COPY"):
        *sources, _ = arguments.split()
        for source in (source for source in sources if not source.startswith("--from=") and source != "/venv"):
            copied = copytree if (ROOT / source).is_dir() else copy
            copied(ROOT / source, tmp_path / source)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "pgaudit/migrations/versions/0001_initial.py" in archive.namelist()
    assert (tmp_path / Path(setting("PIP_CONSTRAINT", IMAGE)).name).is_file()


def test_the_image_is_pinned_and_installs_extras_that_exist() -> None:
    """The base image has a patch version, so that each build has the same Python; pyproject.toml has the extras."""
    bases = instructions("FROM")
    assert [base for base in bases if re.fullmatch(r"python:\d+\.\d+\.\d+-\S+(?: AS build)?", base)] == bases != []
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', IMAGE)
    assert set(extras.split(",")) <= set(EXTRAS)


def test_the_check_of_the_image_asks_the_worker(dsn: str) -> None:
    """The HEALTHCHECK succeeds while a worker answers on the port, and fails otherwise."""
    (arguments,) = instructions("HEALTHCHECK")
    port = str(free_port())
    command = json.loads(arguments[arguments.index("[") :].replace(setting("PGAUDIT_HEALTH_PORT", IMAGE), port))
    environment = os.environ | {"no_proxy": "127.0.0.1"}

    def result() -> int:
        run = [sys.executable, *command[1:]]
        return subprocess.run(run, env=environment, capture_output=True, timeout=30, check=False).returncode

    assert result() == 1
    with worker_process(dsn, PGAUDIT_HEALTH_PORT=port):
        wait_until("the worker answers", lambda: result() == 0)


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("resource", [DEPLOYMENT, BUDGET], ids=["deployment", "budget"])
def test_kubernetes_accepts_the_resources(resource: dict[str, object], version: str) -> None:
    """Each resource is valid in Kubernetes 1.30 and in the newest version, without unknown fields."""
    kubernetes_validate.validate(resource, version, strict=True)


def test_the_pods_run_the_image_without_rights() -> None:
    """Containers have no capabilities; the user is numeric, because Kubernetes cannot tell if a name is root."""
    assert POD["securityContext"]["runAsNonRoot"] is True
    (user,) = instructions("USER")
    assert int(user.partition(":")[0]) > 0
    limits = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert CONTAINER["securityContext"] == limits


def test_the_pods_run_the_image_of_this_version() -> None:
    """The deployment and the Dockerfile name the image with the tag of this version."""
    assert CONTAINER["image"].endswith(f":{pgaudit.__version__}")
    assert CONTAINER["image"] in IMAGE


def test_the_pods_have_resource_limits() -> None:
    """A container requests CPU and memory, and has a memory limit."""
    assert set(CONTAINER["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in CONTAINER["resources"]["limits"]


def test_a_drained_machine_takes_one_worker_at_a_time() -> None:
    """Disruption budget and topology spread select the pods of the deployment, and one replica may be missing."""
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    spread = [each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]]
    assert [*spread, BUDGET["spec"]["selector"]["matchLabels"]] == [labels] * 3
    assert 0 < BUDGET["spec"]["minAvailable"] < DEPLOYMENT["spec"]["replicas"]


def test_probes_ask_the_port_that_the_image_serves() -> None:
    """Readiness and liveness probes ask the worker's health port, and the pod has time to shut down."""
    (port,) = CONTAINER["ports"]
    assert f"PGAUDIT_HEALTH_PORT={port['containerPort']}" in IMAGE
    assert "PGAUDIT_HEALTH_HOST=0.0.0.0" in IMAGE  # the probes come from outside of the container
    asked = {name: CONTAINER[name]["httpGet"] for name in ("readinessProbe", "livenessProbe")}
    assert asked["readinessProbe"] == {"path": "/api/v1/health/ready", "port": port["name"]}
    assert asked["livenessProbe"] == {"path": "/api/v1/health/live", "port": port["name"]}
    assert POD["terminationGracePeriodSeconds"] > int(setting("PGAUDIT_SHUTDOWN_TIMEOUT", IMAGE))


def test_the_commands_of_the_containers_page_name_its_files() -> None:
    """The commands use the Dockerfile and worker.yaml, with the image and the secret that the deployment names."""
    (session,) = blocks("docs/operate/containers.md", "console")
    named = re.findall(r"docs/files/[\w.]+", session)
    assert named == ["docs/files/Dockerfile", "docs/files/worker.yaml"]
    assert session.count(CONTAINER["image"]) == 2
    (secret,) = re.findall(r"create secret generic (\S+) --from-literal=(\w+)=", session)
    wanted = CONTAINER["env"][0]["valueFrom"]["secretKeyRef"]
    assert secret == (wanted["name"], wanted["key"])
