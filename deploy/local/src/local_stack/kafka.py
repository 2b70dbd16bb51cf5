"""Apache Kafka in KRaft mode: one node that is broker and controller, on loopback."""

import base64
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from local_stack.child import ChildProcess, ProcessSpec, describe_log, run_to_end
from local_stack.errors import SetupError
from local_stack.files import locked, write_atomically
from local_stack.java import Java, find_java
from local_stack.maven import fetch_jars, jars_folder
from local_stack.packages import ensure_command
from local_stack.paths import DEFINITIONS, StackDirectory
from local_stack.polling import poll_until
from local_stack.ports import LOOPBACK, Ports

READY_SECONDS: Final = 180.0

_REQUEST_MS: Final = 2_000
_FORMAT_SECONDS: Final = 120.0
_TRAINING_SECONDS: Final = 120.0
_JVM_OPTIONS: Final = (
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    f"-Dlog4j2.configurationFile={DEFINITIONS / 'log4j2.properties'}",
)


@dataclass(frozen=True, slots=True)
class KafkaRuntime:
    """What a broker needs that all brokers of a checkout share.

    `class_data` is an archive of the loaded classes for this Java and these jars; with it the
    broker starts in half the time. Java ignores an archive that doesn't fit.
    """

    java: Java
    libs: Path
    class_data: Path
    options: tuple[str, ...]

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the command that runs a class of the jars."""
        java = (str(self.java.executable), *_JVM_OPTIONS, *self.options)
        return (*java, "-cp", f"{self.libs}/*", *arguments)


@dataclass(frozen=True, slots=True)
class KafkaServer:
    """A formatted broker, ready to be started any number of times on its data and port."""

    spec: ProcessSpec
    bootstrap_servers: str

    async def wait_until_ready(self, *, seconds: float = READY_SECONDS) -> None:
        """Return when the broker answers and takes part in its cluster.

        Raises:
            SetupError: where it doesn't within `seconds`, with the end of its log.

        """
        try:
            await wait_for_broker(self.bootstrap_servers, seconds=seconds)
        except TimeoutError:
            raise SetupError(
                f"Kafka wasn't ready within {seconds:.0f} s; {describe_log(self.spec.log)}"
            ) from None


def node_properties(data: Path, port: int, controller_port: int) -> dict[str, str]:
    """Return the configuration of a node that is alone in its cluster, by property.

    A broker that was killed counts as present until its session times out, and its successor
    waits fenced for that long: hence the short session.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "num.partitions": "1",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "broker.heartbeat.interval.ms": "400",
        "broker.session.timeout.ms": "2000",
        "log.cleaner.dedupe.buffer.size": "2097152",
    }


async def prepare_kafka(
    directory: StackDirectory, shared: StackDirectory, ports: Ports
) -> KafkaServer:
    """Return a broker whose data lie in `directory`; what can be shared is kept in `shared`.

    Raises:
        SetupError: where Java, Maven or the jars can't be had, or the format fails.

    """
    runtime = await prepare_runtime(shared)
    server = _server(runtime, directory.kafka, directory.log("kafka"), ports)
    await _format(runtime, directory.kafka, directory.log("kafka"))
    return server


async def prepare_runtime(shared: StackDirectory) -> KafkaRuntime:
    """Find Java, fetch the jars and make the class archive, each once."""
    if not jars_folder(shared).is_dir():
        # Before Java is looked for: Debian's Maven brings one.
        await ensure_command(shared, "mvn", package="maven")
    java = await find_java(shared)
    libs = await fetch_jars(shared, java)
    archive = _archive(libs, java)
    use_archive = (f"-XX:SharedArchiveFile={archive}", "-Xshare:auto")
    runtime = KafkaRuntime(java=java, libs=libs, class_data=archive, options=use_archive)
    async with locked(libs.parent / "train.lock", seconds=_TRAINING_SECONDS):
        if not runtime.class_data.exists():
            await _train(runtime, shared)
    return runtime


async def wait_for_broker(bootstrap_servers: str, *, seconds: float) -> None:
    """Return when the cluster names a broker that isn't fenced.

    Raises:
        TimeoutError: where none does within `seconds`.

    """
    await poll_until(partial(_has_brokers, bootstrap_servers), seconds=seconds)


async def _has_brokers(bootstrap_servers: str) -> bool:
    """Ask for the cluster's metadata, which leave out brokers that are fenced."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=_REQUEST_MS)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
    return bool(cluster["brokers"])


def _server(runtime: KafkaRuntime, home: Path, log: Path, ports: Ports) -> KafkaServer:
    home.mkdir(parents=True, exist_ok=True)
    port, controller_port = ports.choose("kafka"), ports.choose("kafka-controller")
    properties = home / "server.properties"
    _write_properties(properties, node_properties(home / "data", port, controller_port))
    spec = ProcessSpec(
        name="kafka",
        command=runtime.command("kafka.Kafka", str(properties)),
        log=log,
        directory=home,
    )
    return KafkaServer(spec=spec, bootstrap_servers=f"{LOOPBACK}:{port}")


def _write_properties(path: Path, properties: Mapping[str, str]) -> None:
    write_atomically(path, "".join(f"{name}={value}\n" for name, value in properties.items()))


async def _format(runtime: KafkaRuntime, home: Path, log: Path) -> None:
    """Make the data folder; it has its name only once it is whole."""
    data, unfinished = home / "data", home / "data.unfinished"
    if data.is_dir():
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    properties = home / "format.properties"
    _write_properties(properties, node_properties(unfinished, port=1, controller_port=2))
    arguments = ("format", "-t", _new_cluster_id(), "-c", str(properties))
    await run_to_end(
        ProcessSpec(
            name="kafka-format",
            command=runtime.command("kafka.tools.StorageTool", *arguments),
            log=log,
            directory=home,
        ),
        seconds=_FORMAT_SECONDS,
    )
    unfinished.rename(data)


def _new_cluster_id() -> str:
    """Return a random id in Kafka's form: 16 bytes as URL-safe base64 without padding.

    It doesn't start with a dash, which the command line would take for an option.
    """
    return "r" + base64.urlsafe_b64encode(os.urandom(16)).decode()[1:22]


def _archive(libs: Path, java: Java) -> Path:
    version = hashlib.sha256(f"{java.home} {java.version}".encode()).hexdigest()[:16]
    return libs / f"classes-{version}.jsa"


async def _train(runtime: KafkaRuntime, shared: StackDirectory) -> None:
    """Start a throw-away broker that writes down on exit which classes it loaded.

    A Java that can't write an archive gets an empty one, which it ignores.
    """
    archive = runtime.class_data
    unfinished = archive.with_suffix(".unfinished")
    recorder = replace(runtime, options=(f"-XX:ArchiveClassesAtExit={unfinished}",))
    with tempfile.TemporaryDirectory(prefix="training-", dir=runtime.libs.parent) as folder:
        home, log = Path(folder), shared.log("setup")
        server = _server(recorder, home, log, Ports(home / "ports.json"))
        await _format(replace(runtime, options=()), home, log)
        broker = await ChildProcess.start(replace(server.spec, stop_grace=_TRAINING_SECONDS))
        try:
            await server.wait_until_ready()
        finally:
            await broker.stop()
    unfinished.touch()
    unfinished.rename(archive)
