import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Thread

import pytest

from tests.support import containers
from tests.support.containers import (
    KAFKA_IMAGE,
    POSTGRES_IMAGE,
    Announce,
    kafka_container,
    kafka_environment,
    postgres_container,
)

RunContainer = Callable[[Announce], AbstractAsyncContextManager[str | None]]


class _EngineWithoutNetwork(BaseHTTPRequestHandler):
    """Answers as Docker does where it has no image and can't reach the registry."""

    def do_GET(self) -> None:
        if self.path == "/version":
            self._answer(200, {"ApiVersion": "1.44"})
        elif self.path.endswith("/_ping"):
            self._answer(200, "OK")
        else:
            self._answer(404, {"message": "No such image"})

    def do_POST(self) -> None:
        self._answer(500, {"message": "Get https://registry.example/v2/:\n no such host"})

    def address_string(self) -> str:
        return "test"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: object) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def use_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Names the engine for one test; what was found out about another one is forgotten."""

    def use(address: str) -> None:
        monkeypatch.setenv("DOCKER_HOST", address)

    containers._engine_answers.cache_clear()
    yield use
    containers._engine_answers.cache_clear()


@pytest.fixture
def engine_without_network(tmp_path: Path, use_engine: Callable[[str], None]) -> Iterator[None]:
    socket = tmp_path / "engine.sock"
    with _UnixServer(str(socket), _EngineWithoutNetwork) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        use_engine(f"unix://{socket}")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("run", "image"), [(kafka_container, KAFKA_IMAGE), (postgres_container, POSTGRES_IMAGE)]
)
async def test_image_that_cannot_be_pulled_is_said_in_one_line_and_done_without(
    engine_without_network: None,
    run: RunContainer,
    image: str,
) -> None:
    lines: list[str] = []

    async with run(lines.append) as address:
        assert address is None

    reason = "Get https://registry.example/v2/: no such host"
    assert lines == [
        f"pulling {image} ...",
        f"can't get {image}, so the tests use a local server instead: {reason}",
    ]


@pytest.mark.parametrize("engine", ["unix:///nowhere/docker.sock", "tcp://192.0.2.1:2375"])
async def test_engine_that_is_stopped_or_on_another_machine_is_passed_over_in_silence(
    use_engine: Callable[[str], None], engine: str
) -> None:
    use_engine(engine)
    lines: list[str] = []

    async with kafka_container(lines.append) as broker, postgres_container(lines.append) as server:
        assert (broker, server) == (None, None)

    assert lines == []


def test_broker_in_a_container_calls_itself_by_the_address_its_clients_use() -> None:
    environment = kafka_environment(20_001)

    assert environment["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:20001"
    assert environment["KAFKA_LISTENERS"].startswith("PLAINTEXT://:20001,")
    assert environment["KAFKA_NODE_ID"] == "1"
