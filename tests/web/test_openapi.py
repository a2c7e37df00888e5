"""The OpenAPI document: valid, complete, and kept to."""

from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tests.web.conftest import BEARER

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
    ("get", "/metrics"),
    ("get", DOCUMENT),
}
FEW = hypothesis.settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def operations(client: httpx.Client) -> list[Operation]:
    """What the document describes."""
    schema = schemathesis.openapi.from_dict(client.get(DOCUMENT).json())
    schema.config.update(base_url=str(client.base_url))
    return [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]


def test_the_document_is_valid_and_has_every_route(client: httpx.Client) -> None:
    """By the meta-schema of OpenAPI 3.1; a route that it leaves out does not exist."""
    document = client.get(DOCUMENT).json()
    schemathesis.openapi.from_dict(document).validate()
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == ROUTES


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("headers", [{}, {"Authorization": BEARER[b"Authorization"].decode("latin-1")}])
def test_whatever_is_sent_is_answered_as_documented(
    client: httpx.Client, failed_job: int, mode: GenerationMode, headers: dict[str, str]
) -> None:
    """Valid or not, with the token or without: no 5xx, no status, media type or body that the document lacks."""
    assert failed_job
    described = operations(client)
    assert len(described) == len(ROUTES)
    for operation in described:
        if mode is GenerationMode.NEGATIVE and not operation.path_parameters:
            continue  # there is nothing that could be invalid
        send_all_sorts(operation, mode, headers)


def send_all_sorts(operation: Operation, mode: GenerationMode, headers: dict[str, str]) -> None:
    """Sends requests that the document makes up."""

    @FEW
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        case.call_and_validate(headers=headers)

    send()
