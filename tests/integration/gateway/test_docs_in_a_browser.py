"""The rendered document as a real browser shows it, on a machine without any other host."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from tests.integration.gateway.live import Live
from tests.support.browser import show

_METHODS = {"get", "head", "post", "put", "patch", "delete"}


async def test_docs_show_every_operation_and_webhook_and_ask_no_other_host(
    live: Live, tmp_path: Path
) -> None:
    document = (await live.client.get("/openapi.json")).json()
    described = {
        operation["operationId"]
        for paths in (document["paths"], document["webhooks"])
        for methods in paths.values()
        for method, operation in methods.items()
        if method in _METHODS
    }

    shown = await show(f"{live.served.url}/docs", tmp_path)

    operations = re.findall(r'id="operations-(?!tag-)\w+-(\w+)"', shown.html)
    assert set(operations) == described
    assert document["info"]["title"] in shown.html
    assert shown.console == ()
    assert {urlsplit(url).netloc for url in shown.asked} == {f"127.0.0.1:{live.served.port}"}
    assert {urlsplit(url).path for url in shown.asked} >= {"/docs/start.js", "/openapi.json"}
