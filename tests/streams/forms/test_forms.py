"""The forms of events: golden files to review, each one checked against its standard."""

import json
from typing import Any

import jsonschema
import pytest
from cloudevents.core.formats.json import JSONFormat
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from pgaudit._exact_json import parse_json, to_json
from pgaudit.errors import InvalidStream
from pgaudit.sealing.tree import leaf_hash
from pgaudit.streams.forms import MODULES, content_type, form_of
from pgaudit.trail.entry import Entry
from tests.streams.forms.events import CONFLICTING, ENTRIES, entry_of
from tests.streams.forms.golden import made, path_of


def name_of(entry: Entry) -> str:
    """Returns a name for the report of the tests."""
    return f"{entry.index}-{entry.action}"


@pytest.fixture(scope="module")
def ocsf_schema() -> dict[str, Any]:
    """The JSON schema of OCSF's class Entity Management."""
    schema: dict[str, Any] = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.8.0")).get_class_schema("entity_management")
    return schema


@pytest.mark.parametrize("form", MODULES)
def test_a_form_makes_what_its_golden_file_has(form: str) -> None:
    """A change of a form is seen in its golden file: what receivers have built on does not change by accident."""
    assert made(form) == path_of(form).read_text(encoding="utf-8")


@pytest.mark.parametrize("form", MODULES)
def test_a_form_keeps_all_digits(form: str) -> None:
    """Amounts have the digits that were recorded, in every form."""
    text = to_json(form_of(form)(ENTRIES[5]))
    assert '"rate": 0.10, "total": 12345678901234567890.1200, "count": 9007199254740993' in text


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_native_has_the_text_that_the_hash_covers(entry: Entry) -> None:
    """A receiver can compute the leaf hash from the member ``event``."""
    line = to_json(form_of("native")(entry))
    text = line.split(', "event": ', 1)[1][:-1]
    assert leaf_hash(text.encode()).hex() == parse_json(line)["leaf_hash"]


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_cloudevents_are_read_by_their_package(entry: Entry) -> None:
    """The package of the CloudEvents project takes each of them, with the event as it was recorded."""
    event = JSONFormat().read(None, to_json(form_of("cloudevents")(entry)))
    assert (event.get_type(), event.get_time(), event.get_data()) == (
        entry.action, entry.occurred_at, json.loads(entry.text),
    )  # fmt: skip


def test_events_of_one_id_are_told_apart() -> None:
    """An event that conflicts with another one has its id: receivers must not take it for a repeat."""
    first, second = form_of("cloudevents")(ENTRIES[0]), form_of("cloudevents")(entry_of(7, CONFLICTING, 0))
    assert second["id"] == first["id"] + "-7"


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_ocsf_follows_its_schema(entry: Entry, ocsf_schema: dict[str, Any]) -> None:
    """Each event is valid by the JSON schema of OCSF 1.8.0, which allows no unknown attribute."""
    validator = jsonschema.Draft202012Validator(ocsf_schema)
    assert list(validator.iter_errors(json.loads(to_json(form_of("ocsf")(entry))))) == []


def test_the_schema_of_ocsf_refuses_what_it_does_not_know(ocsf_schema: dict[str, Any]) -> None:
    """The schema is strict: without its entity, or with an attribute more, an event is invalid."""
    event = json.loads(to_json(form_of("ocsf")(ENTRIES[0])))
    validator = jsonschema.Draft202012Validator(ocsf_schema)
    without_entity = {name: value for name, value in event.items() if name != "entity"}
    assert not validator.is_valid(without_entity)
    assert not validator.is_valid(event | {"record_integrity": {}})
    assert not validator.is_valid(event | {"actor": {"user": {"unknown": 1}}})


def test_ecs_has_fields_of_its_schema_alone() -> None:
    """Top-level names are those of ECS, and ``pgaudit``, where all else is."""
    known = {"@timestamp", "ecs", "message", "event", "user", "source", "user_agent", "http", "trace", "span"}
    known |= {"organization", "related", "pgaudit"}
    assert {name for entry in ENTRIES for name in form_of("ecs")(entry)} == known


def test_an_unknown_form_is_named() -> None:
    """The message lists the forms that there are."""
    with pytest.raises(InvalidStream, match="'cef' is no form: write native, cloudevents, ocsf, ecs"):
        form_of("cef")


def test_content_types() -> None:
    """CloudEvents have media types of their own, for one and for several."""
    assert content_type("cloudevents") == "application/cloudevents+json"
    assert content_type("cloudevents", is_list=True) == "application/cloudevents-batch+json"
    assert content_type("ocsf") == "application/json"
