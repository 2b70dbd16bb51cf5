"""A real browser that opens one page, and what it showed, asked for and complained about."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_stack.packages import ensure_command
from local_stack.paths import LOCAL, StackDirectory

_COMMANDS: Final = ("chromium-headless-shell", "chromium", "google-chrome")
_PACKAGE: Final = "chromium-headless-shell"
_SECONDS: Final = 120.0
_SETTLED_MILLISECONDS: Final = 20_000
"""How far the page's clock is advanced; it stands still while anything is being fetched."""
_CONSOLE: Final = ":CONSOLE"


@dataclass(frozen=True, slots=True)
class Shown:
    """A page after its scripts have run."""

    html: str
    """The elements as they are by then."""
    asked: frozenset[str]
    """All URLs that the page asked for, also in vain."""
    console: tuple[str, ...]
    """Lines of the console, such as errors and what the policy of the page forbade."""


async def show(url: str, folder: Path) -> Shown:
    """Open the page at `url`; the browser reaches no host but 127.0.0.1, and writes to `folder`.

    Raises:
        SetupError: where there is no browser and none can be installed.

    """
    browser = await ensure_command(StackDirectory(LOCAL), *_COMMANDS, package=_PACKAGE)
    log = folder / "net-log.json"
    process = await asyncio.create_subprocess_exec(
        browser,
        "--headless",
        "--no-sandbox",  # which root may not have
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
        f"--log-net-log={log}",
        f"--virtual-time-budget={_SETTLED_MILLISECONDS}",
        "--dump-dom",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            html, said = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert process.returncode == 0, said.decode(errors="replace")
    console = (line for line in said.decode(errors="replace").splitlines() if _CONSOLE in line)
    return Shown(html.decode(), _asked_for(log), tuple(console))


def _asked_for(log: Path) -> frozenset[str]:
    """Read what a page asked for; what the browser asks for itself has no initiator."""
    content = json.loads(log.read_bytes())
    start = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = (event.get("params", {}) for event in content["events"] if event["type"] == start)
    return frozenset(
        request["url"]
        for request in requests
        if str(request.get("initiator")).startswith(("http", "null"))
    )
