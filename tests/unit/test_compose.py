"""The compose file is sound: what it depends on is there, what it sets is known, and nothing is open to the network."""

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataharvest.settings import Settings
from dataharvest.topics import load_topics

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docker/compose.yaml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if "build" in service}
CONDITIONS = {"service_completed_successfully", "service_healthy"}
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
every_own_service = pytest.mark.parametrize("service", OWN.values(), ids=OWN.keys())


@every_service
def test_an_image_is_built_here_or_pinned(service: dict[str, Any]) -> None:
    if "build" in service:
        context = (ROOT / "docker" / service["build"]["context"]).resolve()
        assert (context / service["build"]["dockerfile"]).is_file()
    else:
        assert re.fullmatch(r"[a-z0-9/]+:v?[0-9.]+", service["image"])


@every_service
def test_what_it_waits_for_is_there_and_can_be_waited_for(service: dict[str, Any]) -> None:
    for name, how in service.get("depends_on", {}).items():
        assert how["condition"] in CONDITIONS
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[name]
        else:
            assert "restart" not in SERVICES[name]


@every_service
def test_ports_are_open_on_the_loopback_alone(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "network_mode" not in service


@every_service
def test_volumes_are_declared(service: dict[str, Any]) -> None:
    named = {volume.split(":")[0] for volume in service.get("volumes", [])}

    assert named <= set(COMPOSE["volumes"])


@every_own_service
def test_variables_are_settings_that_the_program_accepts(service: dict[str, Any]) -> None:
    values = {name.removeprefix("DATAHARVEST_").lower(): value for name, value in service["environment"].items()}

    assert set(values) <= set(Settings.model_fields)
    assert Settings(_env_file=None, **values).split_in_worker is False


def test_the_page_is_restarted_and_says_whether_it_can_read() -> None:
    service = SERVICES["web"]

    assert service["restart"] == "unless-stopped"
    assert "/api/health" in " ".join(service["healthcheck"]["test"])
    assert [port.rpartition(":")[2] for port in service["ports"]] == ["8080"]


@pytest.mark.parametrize("name", ["worker", "split"])
def test_a_process_can_be_scaled_is_restarted_and_has_time_to_end(name: str) -> None:
    service = SERVICES[name]

    assert not {"container_name", "ports", "hostname"} & set(service)
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "30s"
    assert service["depends_on"] == {"init": {"condition": "service_completed_successfully"}}


def test_secrets_come_from_outside() -> None:
    secrets = re.findall(r"(?:PASSWORD|KEY|KEY_ID): (.+)", TEXT)
    example = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / "docker/.env.example").read_text("utf-8"), re.MULTILINE))

    assert len(secrets) == 5
    assert all(re.fullmatch(r"\$\{[A-Z0-9_]+:\?[^}]+\}", secret) for secret in secrets)
    assert set(re.findall(r"\$\{([A-Z0-9_]+):\?", TEXT)) == set(example)
    assert set(example.values()) == {""}


def test_the_broker_takes_the_largest_message_and_makes_no_topic_by_itself() -> None:
    kafka = SERVICES["kafka"]["environment"]
    largest = max(int(topic.config["max.message.bytes"]) for topic in load_topics().values())

    assert kafka["KAFKA_MESSAGE_MAX_BYTES"] >= largest
    assert kafka["KAFKA_REPLICA_FETCH_MAX_BYTES"] >= largest
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_the_s3_servers_events_go_to_a_topic_that_is_there_before_it_starts() -> None:
    s3 = SERVICES["s3"]

    assert "--event-kafka-topic=uploads" in s3["command"]
    assert "uploads" in load_topics()
    assert s3["depends_on"] == {"topics": {"condition": "service_completed_successfully"}}
    assert SERVICES["topics"]["command"] == ["topics", "apply"]


def test_the_image_is_given_every_file_that_it_copies() -> None:
    copied = [
        path
        for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "docker/Dockerfile").read_text("utf-8"), re.MULTILINE)
        for path in line.split()[:-1]
    ]
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)

    assert len(copied) == 7
    assert all((ROOT / path).exists() for path in copied)
    assert all(any(fnmatch.fnmatch(path, pattern) for pattern in allowed) for path in copied)
