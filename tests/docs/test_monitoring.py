"""Checks the rules for Prometheus and the dashboard for Grafana against a scrape of a trail with a worker."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from pgaudit import Mode, streams
from pgaudit.testing.copies import fresh_database
from pgaudit.testing.server import Server
from tests.docs.printed import ROOT, blocks
from tests.docs.promql import Scrape
from tests.docs.sessions import served
from tests.support.jobs import queue_events
from tests.support.processes import worker_process
from tests.support.queries import LOG_SIZE, value_in
from tests.support.waiting import wait_until

FILES = ROOT / "docs" / "files"
(GROUP,) = yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}
DASHBOARD = json.loads((FILES / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
MODES = {"mode": {str(mode) for mode in Mode}}


@pytest.fixture(scope="module")
def scrape(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scrape]:
    """The answer of ``pgaudit serve`` while a worker runs, after events have reached the log."""
    with fresh_database(server) as database, worker_process(database.dsn):
        with psycopg.connect(database.dsn) as conn:
            streams.add(conn, "siem", to=f"file:{tmp_path_factory.mktemp('out')}")
        queue_events(database.dsn, 3)
        wait_until("the log has 3 events", lambda: value_in(database.dsn, LOG_SIZE) == 3)
        with served("pgaudit serve", database.dsn, tmp_path_factory.mktemp("serve")) as address:
            yield Scrape(httpx.get(f"{address}/metrics", trust_env=False).raise_for_status().text)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_asks_what_a_scrape_has(rule: dict[str, Any], scrape: Scrape) -> None:
    """Every name, label and value in the rule's expression is in the scrape."""
    assert scrape.problems(rule["expr"], **MODES) == []


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_says_what_happened(rule: dict[str, Any]) -> None:
    """A rule has a severity and a description, which uses only labels that the expression keeps."""
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    summary = rule["annotations"]["summary"]
    assert summary[-1] in ".?"
    for label in re.findall(r"\$labels\.(\w+)", summary):
        assert re.search(rf"by \([^)]*\b{label}\b", rule["expr"])


def test_every_health_check_has_a_rule(scrape: Scrape) -> None:
    """Each health check has a rule, on its verdict or on the figure that it judges."""
    watched = {check for rule in RULES.values() for check in re.findall(r'check="(\w+)"', rule["expr"])}
    by_figure = {
        "database": "absent(pgaudit_oldest_waiting_seconds)",
        "workers": "pgaudit_workers_alive",
        "oldest_waiting": "pgaudit_oldest_waiting_seconds",
        "failed": 'pgaudit_jobs{state="failed"}',
        "stalled": "pgaudit_stalled_jobs",
    }
    expressions = " ".join(rule["expr"] for rule in RULES.values())
    assert [check for check, figure in by_figure.items() if figure not in expressions] == []
    always_healthy = {"schema_owner"}
    assert watched | set(by_figure) | always_healthy == scrape.series["pgaudit_health_check"]["check"]


def test_the_scrape_of_the_page_has_the_job_of_the_dashboard() -> None:
    """The page's configuration of Prometheus loads the rules, and its job is the one that the dashboard selects."""
    (config,) = [
        parsed
        for block in blocks("docs/operate/alerts.md", "yaml")
        if "scrape_configs" in (parsed := yaml.safe_load(block))
    ]
    assert config["rule_files"] == ["alerts.yml"]
    assert [each["job_name"] for each in config["scrape_configs"]] == ["pgaudit"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_what_a_scrape_has(panel: dict[str, Any], scrape: Scrape) -> None:
    """Every name, label and value in a panel's expressions and legends is in the scrape."""
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "1m")
        assert scrape.problems(expression, **MODES) == []
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", expression)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_can_be_read(panel: dict[str, Any]) -> None:
    """A panel has a description and a unit, and uses the selected data source and job."""
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["expr"].count("pgaudit_") == target["expr"].count('job=~"$job"')
        assert target["legendFormat"] or panel["type"] == "stat"


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """No field is lost when Grafana's SDK parses the dashboard and serializes it again."""
    register_default_plugins()
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert list(lost(DASHBOARD, kept)) == []


def lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Yields the path of each value of ``given`` that ``kept`` lacks."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            yield from lost(value, kept.get(name), f"{path}/{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{path}/{number}")
    elif given != kept:
        yield path


def test_the_dashboard_can_be_imported() -> None:
    """The dashboard names no installation's data source, and its panels have unique ids and do not overlap."""
    assert "id" not in DASHBOARD
    assert [each["type"] for each in DASHBOARD["templating"]["list"] if each["name"] == "datasource"] == ["datasource"]
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Recording", "Queue", "Workers", "Log", "Storage", "Streams"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [cell for panel in DASHBOARD["panels"] for cell in cells(**panel["gridPos"])]
    assert len(places) == len(set(places))


def cells(x: int, y: int, w: int, h: int) -> list[tuple[int, int]]:
    """Returns the cells that a panel covers in a grid of 24 columns."""
    assert x + w <= 24
    return [(column, line) for column in range(x, x + w) for line in range(y, y + h)]


def test_the_page_says_where_the_dashboard_is() -> None:
    """The page's link leads to the dashboard's file."""
    page = ROOT / "docs" / "operate" / "dashboard.md"
    (path,) = re.findall(r"\]\((\S+\.json)\)", page.read_text())
    assert (page.parent / path).resolve() == FILES / "grafana-dashboard.json"
    assert Path(path).name == "grafana-dashboard.json"
