"""No client of a released document is broken by a newer one of the same major version.

docs/openapi.released.json is the document of the last release; `make` never writes it, whoever
releases copies docs/openapi.json there. It is compared in every version that the history of this
branch has of it: to change it together with the code doesn't silence this test. What has to break
clients gets a new major version in gateway.routes.openapi.
"""

import copy
import json
import subprocess
from collections.abc import Callable
from typing import Any, Final

import pytest
import yaml

from gateway.routes.openapi import document
from local_stack.paths import CHECKOUT
from tests.support.openapi_breaks import breaking_changes

RELEASED: Final = "docs/openapi.released.json"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(CHECKOUT), *arguments],  # noqa: S607 - the one on the PATH
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""  # a tree without history has one version


def released() -> dict[str, str]:
    """Return every version that was ever released, by the commit that brought it."""
    versions = {"now": (CHECKOUT / RELEASED).read_text()}
    for commit in _git("rev-list", "HEAD", "--", RELEASED).split():
        if text := _git("show", f"{commit}:{RELEASED}"):
            versions[commit[:12]] = text
    return versions


def major(of: dict[str, Any]) -> str:
    return str(of["info"]["version"]).partition(".")[0]


@pytest.mark.parametrize("text", released().values(), ids=released().keys())
def test_clients_of_a_released_document_are_not_broken(text: str) -> None:
    old = json.loads(text)
    if major(old) == major(document()):
        assert breaking_changes(old, document()) == []


ASKED_OF_CLIENTS_SINCE: Final = {
    "POST /generate-report: needs other credentials",
    "POST /generate-report body .reportType: minLength is tighter",
    "POST /generate-report body .reportType: maxLength is tighter",
    "POST /generate-report body .callbackUrl: maxLength is tighter",
    "GET /report-jobs/{jobId}: needs other credentials",
}
"""The first published document knew no credentials, which a gateway may be run without, and no
limits for the lengths of texts."""


def test_clients_of_the_first_published_document_are_not_broken() -> None:
    seed = yaml.safe_load((CHECKOUT / "tests" / "fixtures" / "seed-openapi.yaml").read_text())
    assert set(breaking_changes(seed, document())) == ASKED_OF_CLIENTS_SINCE


OLD: Final[dict[str, Any]] = {
    "paths": {
        "/things": {
            "get": {
                "parameters": [
                    {"in": "query", "name": "size", "schema": {"type": "integer", "maximum": 9}}
                ],
                "responses": {
                    "200": {
                        "headers": {"ETag": {}},
                        "content": {
                            "text/json": {"schema": {"$ref": "#/components/schemas/Thing"}}
                        },
                    },
                    "404": {"content": {}},
                },
            },
            "post": {
                "security": [{"bearer": ["submit"]}],
                "requestBody": {
                    "content": {"text/json": {"schema": {"$ref": "#/components/schemas/Ask"}}}
                },
                "responses": {"202": {}},
                "callbacks": {
                    "ended": {
                        "{$url}": {
                            "post": {
                                "requestBody": {
                                    "content": {
                                        "text/json": {
                                            "schema": {"$ref": "#/components/schemas/Thing"}
                                        }
                                    }
                                }
                            }
                        }
                    }
                },
            },
        }
    },
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string"},
                    "state": {"enum": ["A", "B"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
            },
            "Ask": {
                "type": "object",
                "required": ["kind"],
                "properties": {
                    "kind": {"enum": ["X", "Y"]},
                    "count": {"type": "number"},
                    "name": {"type": "string", "maxLength": 50},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
            },
        }
    },
}


def thing(doc: Any) -> Any:
    return doc["components"]["schemas"]["Thing"]


def ask(doc: Any) -> Any:
    return doc["components"]["schemas"]["Ask"]


def operation(doc: Any, method: str) -> Any:
    return doc["paths"]["/things"][method]


Change = Callable[[Any], Any]
BREAKING: Final[dict[str, Change]] = {
    "a path is gone": lambda d: d["paths"].clear(),
    "a method is gone": lambda d: d["paths"]["/things"].pop("get"),
    "an answer is gone": lambda d: operation(d, "get")["responses"].pop("404"),
    "a media type is gone": lambda d: operation(d, "get")["responses"]["200"]["content"].clear(),
    "a header is gone": lambda d: operation(d, "get")["responses"]["200"]["headers"].clear(),
    "a parameter is gone": lambda d: operation(d, "get")["parameters"].clear(),
    "a parameter is required": lambda d: operation(d, "get")["parameters"][0].update(required=True),
    "a new parameter is required": lambda d: operation(d, "get")["parameters"].append(
        {"in": "query", "name": "page", "required": True}
    ),
    "a parameter is narrower": lambda d: operation(d, "get")["parameters"][0]["schema"].update(
        maximum=5
    ),
    "a credential is needed": lambda d: operation(d, "get").update(security=[{"bearer": []}]),
    "another scope is needed": lambda d: operation(d, "post").update(
        security=[{"bearer": ["admin"]}]
    ),
    "the body is required": lambda d: operation(d, "post")["requestBody"].update(required=True),
    "a callback is gone": lambda d: operation(d, "post").pop("callbacks"),
    "an answer's field is gone": lambda d: thing(d)["properties"].pop("state"),
    "an answer's field may be missing": lambda d: thing(d).update(required=[]),
    "an answer's field has another type": lambda d: thing(d)["properties"].update(
        id={"type": "integer"}
    ),
    "an answer's field may be null": lambda d: thing(d)["properties"].update(
        id={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
    "an answer's items have another type": lambda d: thing(d)["properties"]["parts"].update(
        items={"type": "string"}
    ),
    "an answer's field is no longer an enum": lambda d: thing(d)["properties"].update(
        state={"type": "string"}
    ),
    "a request's field is required": lambda d: ask(d).update(required=["kind", "count"]),
    "a request's field is gone": lambda d: ask(d)["properties"].pop("count"),
    "a request's value is gone": lambda d: ask(d)["properties"].update(kind={"enum": ["X"]}),
    "a request's type is narrower": lambda d: ask(d)["properties"].update(
        count={"type": "integer"}
    ),
    "a request's field can't be null": lambda d: ask(d)["properties"].update(
        note={"type": "string"}
    ),
    "a request's text is shorter": lambda d: ask(d)["properties"]["name"].update(maxLength=10),
    "a request's text has a pattern": lambda d: ask(d)["properties"]["name"].update(pattern="a"),
    "a request's unknown fields are refused": lambda d: ask(d).update(additionalProperties=False),
}
ADDITIVE: Final[dict[str, Change]] = {
    "a new path": lambda d: d["paths"].update({"/others": {"get": {}}}),
    "a new answer": lambda d: operation(d, "get")["responses"].update({"429": {}}),
    "a new optional parameter": lambda d: operation(d, "get")["parameters"].append(
        {"in": "query", "name": "page"}
    ),
    "a new field in an answer": lambda d: thing(d)["properties"].update(more={"type": "string"}),
    "an answer's field is always there": lambda d: thing(d).update(required=["id", "state"]),
    "an answer's field is never null": lambda d: thing(d)["properties"].update(
        note={"type": "string"}
    ),
    "a new value in an answer": lambda d: thing(d)["properties"].update(
        state={"enum": ["A", "B", "C"]}
    ),
    "a new optional field in a request": lambda d: ask(d)["properties"].update(
        more={"type": "string"}
    ),
    "a request's field is optional": lambda d: ask(d).update(required=[]),
    "a request's new value": lambda d: ask(d)["properties"].update(kind={"enum": ["X", "Y", "Z"]}),
    "a request's text is longer": lambda d: ask(d)["properties"]["name"].update(maxLength=99),
    "no credential is needed": lambda d: operation(d, "post").update(security=[]),
    "another credential will do": lambda d: operation(d, "post").update(
        security=[{"bearer": ["submit"]}, {"basic": []}]
    ),
}


def changed(change: Change) -> dict[str, Any]:
    new = copy.deepcopy(OLD)
    change(new)
    assert new != OLD
    return new


@pytest.mark.parametrize("change", BREAKING.values(), ids=BREAKING.keys())
def test_what_breaks_clients_is_found(change: Change) -> None:
    assert breaking_changes(OLD, changed(change))


@pytest.mark.parametrize("change", ADDITIVE.values(), ids=ADDITIVE.keys())
def test_what_only_adds_is_let_through(change: Change) -> None:
    assert breaking_changes(OLD, changed(change)) == []


def test_a_document_doesnt_break_itself() -> None:
    assert breaking_changes(OLD, OLD) == []
    assert breaking_changes(document(), document()) == []
