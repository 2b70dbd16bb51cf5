"""`GET /docs`: the API's document as pages to read and try, which need no other host.

Swagger UI (Apache-2.0) lies in the package `fastapi-offline`, so the lock file pins it. All
addresses are relative: the pages work behind a prefix of PUBLIC_URL too.
"""

from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reports API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="pages"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = b"""fetch("openapi.json").then((answer) => answer.json()).then((spec) => {
  // "Try it out" would send each example of a header that nobody needs to send.
  for (const operation of Object.values(spec.paths).flatMap(Object.values)) {
    for (const parameter of operation.parameters ?? []) {
      if (!parameter.required && parameter.example !== undefined) {
        parameter.description += " For instance: `" + parameter.example + "`.";
        delete parameter.example;
      }
    }
  }
  spec.servers = [{url: new URL(".", location.href).pathname.replace(/\\/$/, "") || "/"}];
  SwaggerUIBundle({
    spec,
    dom_id: "#pages",
    deepLinking: true,
    validatorUrl: null,
    defaultModelsExpandDepth: 0,
  });
});
"""
# Swagger UI sets styles of single elements.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "cache-control": "public, max-age=3600",
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def routes() -> list[Route]:
    """Return the page and what it is made of, each under a fixed name."""
    packaged = files("fastapi_offline") / "static"
    javascript, css = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
    parts = {
        "/docs": (_PAGE, "text/html; charset=utf-8"),
        "/docs/start.js": (_START, javascript),
        "/docs/swagger-ui.css": ((packaged / "swagger-ui.css").read_bytes(), css),
        "/docs/swagger-ui-bundle.js": (
            (packaged / "swagger-ui-bundle.js").read_bytes(),
            javascript,
        ),
    }
    return [_fixed(path, content, kind) for path, (content, kind) in parts.items()]


def _fixed(path: str, content: bytes, kind: str) -> Route:
    async def part(_request: Request) -> Response:
        return Response(content, headers={**_HEADERS, "content-type": kind})

    return Route(path, part, methods=["GET"], include_in_schema=False)
