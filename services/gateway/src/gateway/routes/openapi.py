"""The OpenAPI 3.1 document: generated from the routes, plus what a framework can't see.

`python -m gateway.routes.openapi` writes it to standard output.
"""

import json
import sys
from copy import deepcopy
from functools import cache
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.routes import ROUTES
from gateway.routes.contract import GenerateReportRequest, ReportJobEnded
from gateway.routes.problems import (
    MEDIA_TYPE,
    RATE_LIMIT_HEADER,
    RATE_LIMIT_POLICY_HEADER,
    Problem,
    ProblemType,
    documented,
)
from gateway.routes.services import Requires

_SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of this gateway, or an access token (JWT) of the OpenID provider"
        " that it trusts. Either speaks for one tenant and has scopes: `submit` (submit, retry,"
        " cancel), `read`, and `admin` (both, and delete). A gateway may be run without"
        " authentication; then none is needed.",
    }
}

_REFUSALS: Final = (
    ProblemType.NOT_AUTHENTICATED,
    ProblemType.NOT_PERMITTED,
    ProblemType.RATE_LIMITED,
    ProblemType.UNAVAILABLE,  # a credential can't be checked just now
)
"""How every operation of a tenant may be answered."""

_STRANGERS: Final = frozenset({"401", "403"})
_RATE_LIMIT: Final = {
    "RateLimit-Policy": RATE_LIMIT_POLICY_HEADER,
    "RateLimit": RATE_LIMIT_HEADER,
}

_FRAMEWORKS_OWN: Final = ("HTTPValidationError", "ValidationError")


def route() -> Route:
    """Return the route of the document."""

    async def openapi(_request: Request) -> Response:
        return JSONResponse(document())

    return Route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)


@cache
def document() -> dict[str, Any]:
    """Return the document; it depends on the code alone, on no setting and no catalogue."""
    generated = get_openapi(
        title="Reports API",
        version="1.0.0",
        summary="Long-running report jobs: 202 Accepted, a job to poll, a signed webhook",
        routes=ROUTES,
        separate_input_output_schemas=False,
    )
    for path in generated["paths"].values():
        for operation in path.values():
            _drop_unused_422(operation["responses"])
    generated["paths"] = deepcopy(generated["paths"])  # routes share parts of what they document
    for route in ROUTES:
        _describe_access(route, generated["paths"])
    schemas = {**generated["components"]["schemas"], **_schemas_of_our_own()}
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    generated["components"]["schemas"] = dict(sorted(schemas.items()))
    generated["components"]["headers"] = _RATE_LIMIT
    generated["webhooks"] = _webhooks(generated["paths"])
    generated["components"]["securitySchemes"] = _SECURITY_SCHEMES
    return generated


def rendered() -> str:
    """Return the document as it lies in docs/openapi.json."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _webhooks(paths: dict[str, Any]) -> dict[str, Any]:
    """Return the callbacks once more as what they are to a receiver, for tools that look there."""
    return {
        name: {
            method: {**operation, "operationId": f"{operation['operationId']}Webhook"}
            for item in expressions.values()
            for method, operation in item.items()
        }
        for name, expressions in paths["/generate-report"]["post"]["callbacks"].items()
    }


def _describe_access(route: BaseRoute, paths: dict[str, Any]) -> None:
    """Say which scope a route needs, and how it answers those without."""
    if not isinstance(route, APIRoute):
        return
    scopes = [
        dependency.call.scope
        for dependency in route.dependant.dependencies
        if isinstance(dependency.call, Requires)
    ]
    for method in route.methods or ():
        operation = paths[route.path_format][method.lower()]
        operation["security"] = [{"bearer": [str(scope)]} for scope in scopes]
        if scopes:
            _add_responses(operation, documented(*_REFUSALS))
            _add_rate_limit(operation["responses"])


def _add_responses(operation: dict[str, Any], added: dict[int | str, dict[str, Any]]) -> None:
    """Add responses; where a route has one of the same status, their examples and headers join."""
    responses = operation["responses"]
    for status, response in added.items():
        own = responses.setdefault(str(status), response)
        if own is not response:
            own["content"][MEDIA_TYPE]["examples"].update(
                response["content"][MEDIA_TYPE]["examples"]
            )
            own["headers"] = {**own.get("headers", {}), **response.get("headers", {})}
    operation["responses"] = dict(sorted(responses.items()))


def _add_rate_limit(responses: dict[str, Any]) -> None:
    """Say that all answers to a known caller tell what is left of its rate."""
    for status, response in responses.items():
        if status not in _STRANGERS:
            references = {name: {"$ref": f"#/components/headers/{name}"} for name in _RATE_LIMIT}
            response["headers"] = {**response.get("headers", {}), **references}


def _drop_unused_422(responses: dict[str, Any]) -> None:
    """Remove the 422 that FastAPI adds to each route with parameters in a shape of its own."""
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]


def _schemas_of_our_own() -> dict[str, Any]:
    """Return what bodies are read and problems written as, past the framework."""
    _, schemas = models_json_schema(
        [
            (GenerateReportRequest, "validation"),
            (ReportJobEnded, "serialization"),
            (Problem, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    found: dict[str, Any] = schemas["$defs"]
    return found


if __name__ == "__main__":
    sys.stdout.write(rendered())
