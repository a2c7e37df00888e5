"""The OpenAPI document: it is valid and complete, and all answers follow it."""

from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.http import BEARER

Operation = APIOperation[Any, Any, Any, Any]
Case = schemathesis.Case[Operation]
DOCUMENT = "/api/v1/openapi.json"
ROUTES = {
    ("get", "/api/v1/health/queues"),
    ("get", "/api/v1/health/ready"),
    ("get", "/api/v1/health/live"),
    ("get", "/api/v1/admin/queues/stats"),
    ("get", "/api/v1/admin/queues/health"),
    ("post", "/api/v1/admin/queues/jobs/{id}/retry"),
    ("get", "/api/v1/audit/events"),
    ("get", "/api/v1/audit/events/{id}"),
    ("get", "/api/v1/audit/events/{id}/proof"),
    ("get", "/api/v1/audit/coverage"),
    ("get", "/api/v1/audit/integrity"),
    ("get", "/api/v1/audit/timeline/{type}/{id}"),
    ("get", "/api/v1/audit/export"),
    ("get", "/api/v1/audit/streams"),
    ("get", "/api/v1/audit/streams/{name}"),
    ("get", "/api/v1/audit/streams/{name}/deliveries"),
    ("get", "/api/v1/audit/streams/{name}/parked"),
    ("post", "/api/v1/audit/streams/{name}/pause"),
    ("post", "/api/v1/audit/streams/{name}/resume"),
    ("post", "/api/v1/audit/streams/{name}/rewind"),
    ("post", "/api/v1/audit/streams/{name}/replay"),
    ("delete", "/api/v1/audit/streams/{name}/replay"),
    ("post", "/api/v1/audit/streams/{name}/retry"),
    ("post", "/api/v1/audit/streams/{name}/discard"),
    ("post", "/api/v1/audit/streams/{name}/test"),
    ("get", "/metrics"),
    ("get", DOCUMENT),
}
# A search has a grammar, which a schema cannot express: text that the schema allows may be refused.
LANGUAGE: list[Any] = [positive_data_acceptance]
FEW = hypothesis.settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def operations(client: httpx.Client) -> list[Operation]:
    """Returns the operations that the document describes."""
    schema = schemathesis.openapi.from_dict(client.get(DOCUMENT).json())
    schema.config.update(base_url=str(client.base_url))
    return [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]


def test_the_document_is_valid_and_has_every_route(client: httpx.Client) -> None:
    """The document is valid OpenAPI 3.1, and has exactly the routes that exist."""
    document = client.get(DOCUMENT).json()
    schemathesis.openapi.from_dict(document).validate()
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == ROUTES


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("headers", [{}, {"Authorization": BEARER[b"Authorization"].decode("latin-1")}])
def test_every_answer_follows_the_document(
    client: httpx.Client, failed_job: int, mode: GenerationMode, headers: dict[str, str]
) -> None:
    """Valid and invalid requests, with and without the token, get documented answers and never a 5xx."""
    assert failed_job
    described = operations(client)
    assert len(described) == len(ROUTES)
    for operation in described:
        if mode is GenerationMode.NEGATIVE and not (operation.path_parameters or operation.query):
            continue  # it has no parameter that could be invalid
        send_generated_requests(operation, mode, headers)


def send_generated_requests(operation: Operation, mode: GenerationMode, headers: dict[str, str]) -> None:
    """Sends requests that are generated from the document."""

    @FEW
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        case.call_and_validate(headers=headers, excluded_checks=LANGUAGE if "/audit/" in operation.path else [])

    send()
