"""The OpenAPI document: valid, current, and still the contract that was published."""

from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.routes.openapi import document, rendered
from local_stack.paths import CHECKOUT
from notifier.payload import WebhookPayload
from report_worker.reports.report import MEDIA_TYPES
from shared.report_request import ReportFormat

SEED: Final[dict[str, Any]] = yaml.safe_load(
    (CHECKOUT / "tests" / "fixtures" / "seed-openapi.yaml").read_text()
)
SNAPSHOT: Final = CHECKOUT / "docs" / "openapi.json"
OPERATIONS: Final = [
    (path, method) for path, operations in SEED["paths"].items() for method in operations
]

ADDED_FORMATS: Final = {"NDJSON", "XLSX"}
"""What a client may ask for beyond the published enum; nobody gets it who doesn't ask."""


def resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Follow references and let null alternatives fall away."""
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return resolved(target, root)
    if "anyOf" in schema:
        [other] = [part for part in schema["anyOf"] if part.get("type") != "null"]
        return {**resolved(other, root), "nullable": len(schema["anyOf"]) > 1}
    return schema


def assert_keeps(published: dict[str, Any], ours: dict[str, Any]) -> None:
    """Whatever the published schema says of types, names, enums and null, ours says too."""
    published, ours = resolved(published, SEED), resolved(ours, document())
    assert ours["type"] == published["type"]
    assert ours.get("format") == published.get("format")
    assert ours.get("nullable", False) == published.get("nullable", False)
    added = set(ours.get("enum", [])) - set(published.get("enum", []))
    assert set(ours.get("enum", [])) - added == set(published.get("enum", []))
    assert added <= ADDED_FORMATS
    for name, schema in published.get("properties", {}).items():
        assert_keeps(schema, ours["properties"][name])


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_the_snapshot_in_docs_is_current() -> None:
    assert SNAPSHOT.read_text() == rendered(), (
        "run `python -m gateway.routes.openapi > docs/openapi.json`"
    )


async def test_the_document_is_served(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json")
    assert response.json() == document()


@pytest.mark.parametrize("name", list(SEED["components"]["schemas"]))
def test_published_schemas_are_kept(name: str) -> None:
    published = SEED["components"]["schemas"][name]
    assert_keeps(published, document()["components"]["schemas"][name])


def test_a_request_needs_nothing_more_and_an_answer_lacks_nothing() -> None:
    published, ours = SEED["components"]["schemas"], document()["components"]["schemas"]
    asked, answered = "GenerateReportRequest", "ReportJob"
    assert set(ours[asked]["required"]) <= set(published[asked]["required"])
    assert set(ours[answered]["required"]) >= set(published[answered]["required"])
    assert "additionalProperties" not in ours[asked]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_published_operations_are_kept(path: str, method: str) -> None:
    published, ours = SEED["paths"][path][method], document()["paths"][path][method]
    assert ours["summary"] == published["summary"]
    assert set(published["responses"]) <= set(ours["responses"])
    names = {(parameter["in"], parameter["name"]) for parameter in published.get("parameters", [])}
    parameters = ours.get("parameters", [])
    assert names <= {(found["in"], found["name"]) for found in parameters}
    assert names >= {(found["in"], found["name"]) for found in parameters if found["required"]}
    for status, response in published["responses"].items():
        assert set(response.get("headers", {})) <= set(ours["responses"][status].get("headers", {}))
        for media_type, content in response.get("content", {}).items():
            kept = ours["responses"][status]["content"][media_type]
            assert_keeps(content["schema"], kept["schema"])
            assert set(content["examples"]) <= set(kept["examples"])


def bodies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield where each body is, its media type, and what is said of it."""
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            found = {f"{status}": part for status, part in operation["responses"].items()}
            found["request"] = operation.get("requestBody", {})
            for where, body in found.items():
                for media_type, content in body.get("content", {}).items():
                    yield f"{method} {path} {where}", media_type, content


def examples() -> list[Any]:
    return [
        pytest.param(content["schema"], example["value"], id=f"{where} {name}")
        for where, _, content in bodies()
        for name, example in content.get("examples", {}).items()
    ]


@pytest.mark.parametrize(("schema", "example"), examples())
def test_examples_fit_their_schemas(schema: dict[str, Any], example: Any) -> None:
    Draft202012Validator({**schema, "components": document()["components"]}).validate(example)


def test_every_json_body_but_a_file_has_an_example() -> None:
    without = [
        where
        for where, media_type, content in bodies()
        if media_type.endswith("json")
        and content["schema"].get("format") != "binary"
        and not content.get("examples")
    ]
    assert without == []


def test_the_example_of_a_request_that_is_refused_says_which_fields() -> None:
    refused = [
        content["examples"]["invalid-request"]["value"]
        for _, _, content in bodies()
        if "invalid-request" in content.get("examples", {})
    ]
    assert refused
    assert all(problem["errors"] for problem in refused)


@pytest.mark.parametrize("format_", list(ReportFormat))
def test_a_file_of_every_format_is_an_answer(format_: ReportFormat) -> None:
    media_type = MEDIA_TYPES[format_].partition(";")[0]
    for method in ("get", "head"):
        responses = document()["paths"]["/report-jobs/{jobId}/download"][method]["responses"]
        assert media_type in responses["200"]["content"]
        assert media_type in responses["206"]["content"]


def test_whoever_has_to_say_who_it_is_may_hear_that_this_cant_be_checked_now() -> None:
    for operations in document()["paths"].values():
        for operation in operations.values():
            assert not operation["security"] or "503" in operation["responses"]


def test_the_headers_that_a_route_honours_are_its_parameters() -> None:
    download = document()["paths"]["/report-jobs/{jobId}/download"]
    named = {
        method: {one["name"] for one in download[method]["parameters"] if one["in"] == "header"}
        for method in ("get", "head")
    }
    conditions = {"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}
    assert named == {"head": conditions, "get": conditions | {"Range", "If-Range"}}
    job = document()["paths"]["/report-jobs/{jobId}"]["get"]["responses"]
    assert set(job["304"]["headers"]) >= {"ETag", "Retry-After", "Preference-Applied"}


def test_every_answer_of_400_and_above_is_a_problem_with_an_example() -> None:
    for operations in document()["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    [media_type] = response["content"]
                    assert media_type == "application/problem+json"
                    assert response["content"][media_type]["examples"]
                assert ("Retry-After" in response.get("headers", {})) or status != "503"


def test_the_webhook_that_is_documented_is_the_one_the_notifier_sends() -> None:
    ours = document()["components"]["schemas"]["ReportJobEnded"]
    sent = WebhookPayload.model_json_schema(by_alias=True, mode="serialization")
    assert set(ours["properties"]) == set(sent["properties"])
    for name in ("type", "status"):
        assert set(ours["properties"][name]["enum"]) == set(sent["properties"][name]["enum"])
