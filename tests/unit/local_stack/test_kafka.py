from pathlib import Path

import pytest

from local_stack.java import major_version
from local_stack.kafka import node_properties
from local_stack.maven import fingerprint


def test_node_listens_on_loopback_alone() -> None:
    properties = node_properties(Path("/data"), 20_001, 20_002)

    assert properties["listeners"] == ("PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002")
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:20001"
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:20002"


def test_topics_are_only_made_on_purpose() -> None:
    assert node_properties(Path("/data"), 1, 2)["auto.create.topics.enable"] == "false"


def test_every_replicated_topic_of_the_broker_fits_one_node() -> None:
    properties = node_properties(Path("/data"), 1, 2)

    factors = [name for name in properties if name.endswith("replication.factor")]
    assert len(factors) == 3
    assert {properties[name] for name in factors} == {"1"}


def test_changed_pom_has_another_fingerprint(tmp_path: Path) -> None:
    pom = tmp_path / "pom.xml"
    pom.write_text("<version>4.2.0</version>")
    before = fingerprint(pom)
    pom.write_text("<version>4.2.1</version>")

    assert fingerprint(pom) != before


@pytest.mark.parametrize(
    ("output", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('openjdk version "25" 2025-09-16 LTS', 25),
        ('openjdk version "26-ea" 2026-03-17', 26),
        ('java version "1.8.0_402"', 8),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "21.0.2" 2024-01-16', 21),
        ("command not found", None),
    ],
)
def test_version_of_java(output: str, major: int | None) -> None:
    assert major_version(output) == major
