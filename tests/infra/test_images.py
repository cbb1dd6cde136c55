"""Static checks of compose file, images and Kubernetes manifests: they fit each other, the settings and the code."""

import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from flows.__main__ import app as flows_app
from flows.deploy import HEARTBEAT_S, QUEUES, SILENCE_S
from flows.settings import ROOT, Settings
from vitau import __version__

INFRA = ROOT / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MANIFESTS = list(yaml.safe_load_all((INFRA / "kubernetes" / "vitau.yaml").read_text()))
DOCKERFILES = {"vitau-app": INFRA / "app.Dockerfile", "vitau-trainer": INFRA / "trainer.Dockerfile"}
FLOWS = {name: service for name, service in SERVICES.items() if "VITAU_STORE" in (service.get("environment") or {})}
SETTINGS = {f"VITAU_{name.upper()}" for name in Settings.model_fields}
REQUIRED = {f"VITAU_{name.upper()}" for name, field in Settings.model_fields.items() if field.is_required()}
REQUIRED |= {"VITAU_SIGNING_KEY"}  # required for retraining
BY_NAME = pytest.mark.parametrize("name", SERVICES)


def workloads() -> Iterator[dict[str, Any]]:
    return (manifest for manifest in MANIFESTS if manifest["kind"] == "Deployment")


def containers() -> Iterator[dict[str, Any]]:
    return (container for workload in workloads() for container in workload["spec"]["template"]["spec"]["containers"])


@pytest.fixture
def secrets(tmp_path) -> Path:
    subprocess.run([sys.executable, INFRA / "make_secrets.py", tmp_path / "secrets"], check=True, capture_output=True)
    return tmp_path / "secrets"


@BY_NAME
def test_every_image_is_pinned_to_a_version_and_our_images_to_this_one(name):
    image, _, version = SERVICES[name]["image"].partition(":")
    assert re.fullmatch(r"v?\d+(\.\d+)+(-[a-z]+)?", version), f"{image}:{version}"
    if image in DOCKERFILES:
        assert version == __version__


@BY_NAME
def test_only_the_proxy_has_open_ports_and_the_outer_network(name):
    open_to_all = "ports" in SERVICES[name] or "outside" in SERVICES[name]["networks"] or "network_mode" in SERVICES[name]
    assert open_to_all == (name == "proxy")


@BY_NAME
def test_every_long_running_service_has_a_health_check_and_is_restarted(name):
    service = SERVICES[name]
    if service["restart"] == "no":
        assert any(
            other.get("depends_on", {}).get(name, {}).get("condition") == "service_completed_successfully"
            for other in SERVICES.values()
        )
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


@BY_NAME
def test_the_dependencies_of_a_service_exist_and_have_a_condition(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        ready = "service_completed_successfully" if SERVICES[other]["restart"] == "no" else "service_healthy"
        assert how == {"condition": ready}


def test_every_volume_and_secret_is_declared_and_used_and_every_file_exists(secrets):
    volumes, named = set(), set()
    for service in SERVICES.values():
        named |= set(service.get("secrets", ()))
        for volume in service.get("volumes", ()):
            source = re.sub(r"^\$\{\w+:-(\w+)\}", r"\1", volume).split(":")[0]
            if source.startswith("./"):
                assert (INFRA / source).exists(), source
            else:
                volumes.add(source)
    assert volumes == set(COMPOSE["volumes"])
    assert named == set(COMPOSE["secrets"])
    assert {secret["file"] for secret in COMPOSE["secrets"].values()} == {
        f"./secrets/{path.name}" for path in secrets.iterdir()
    }


def test_the_compose_file_holds_no_secret(secrets):
    given = {key: value for service in SERVICES.values() for key, value in (service.get("environment") or {}).items()}
    secret = {key: value for key, value in given.items() if re.search("PASSWORD|SECRET|TOKEN|KEY|URI$|CATALOG", key)}
    assert {key for key, value in secret.items() if not re.match(r"/run/secrets/|\$\{|true$", value)} == set()
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secrets.iterdir())
    assert "/infra/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", FLOWS)
def test_a_service_that_runs_flows_has_all_required_settings_and_no_unknown_one(name):
    given = {key for key in (*FLOWS[name]["environment"], *FLOWS[name]["secrets"]) if key.startswith("VITAU_")}
    assert given >= REQUIRED
    assert given <= SETTINGS


def test_workers_serve_every_pool_and_send_heartbeats_as_the_automation_expects():
    commands = [
        SERVICES["worker-cpu"]["command"],
        json.loads(re.findall(r"^CMD (.+)$", DOCKERFILES["vitau-trainer"].read_text(), re.MULTILINE)[0]),
    ]
    assert {command[command.index("--pool") + 1] for command in commands} == {queue.pool for queue in QUEUES}
    assert commands[1][commands[1].index("--limit") + 1] == "1", "one run for each GPU"
    beats = {int(service["environment"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) for service in FLOWS.values()}
    beats.add(int(MANIFESTS[0]["data"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]))
    assert beats == {HEARTBEAT_S}
    assert SILENCE_S >= 3 * HEARTBEAT_S


def test_every_command_exists():
    ours = [service["command"] for service in SERVICES.values() if service.get("command", [])[:3] == ["python", "-m", "flows"]]
    ours += [container["args"] for container in containers() if container["args"][:3] == ["python", "-m", "flows"]]
    assert {command[3] for command in ours} == {"deploy", "receive"}
    assert {command[3] for command in ours} <= set(typer.main.get_group(flows_app).commands)


def test_the_proxy_forwards_to_existing_services():
    targets = re.findall(r"reverse_proxy ([a-z-]+):(\d+)", (INFRA / "Caddyfile").read_text())
    assert {name for name, _ in targets} <= set(SERVICES)
    for name, port in targets:
        assert port in json.dumps(SERVICES[name]["command"]), f"{name} does not listen on {port}"


def test_every_file_that_an_image_copies_exists_and_every_package_is_copied():
    copied = re.findall(r"^COPY (.+) \S+$", DOCKERFILES["vitau-app"].read_text(), re.MULTILINE)
    files = [name for line in copied for name in line.split()]
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert {"vitau", "labeling", "validation", "flows", "constraints.txt", "infra/prefect.yaml"} <= set(files)
    base = re.findall(r"^FROM (\S+)$", DOCKERFILES["vitau-trainer"].read_text(), re.MULTILINE)
    assert base == [f"vitau-app:{__version__}"]


def test_files_in_the_secrets_folder_become_environment_variables(tmp_path):
    (tmp_path / "VITAU_TOKEN").write_text("one $two\n")
    (tmp_path / "s3.json").write_text("{}")
    command = [INFRA / "with-secrets", sys.executable, "-c", "import os; print(sorted(os.environ.items()))"]
    done = subprocess.run(
        command, env={"SECRETS": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert "('VITAU_TOKEN', 'one $two')" in done.stdout
    assert "s3" not in done.stdout


def test_secrets_are_consistent_and_generated_once(secrets):
    password = (secrets / "POSTGRES_PASSWORD").read_text()
    for name in ("POSTGRE_PASSWORD", "VITAU_CATALOG", "MLFLOW_BACKEND_STORE_URI", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        assert password in (secrets / name).read_text()
    keys = {
        identity["name"]: identity["credentials"][0]["secretKey"]
        for identity in json.loads((secrets / "s3.json").read_text())["identities"]
    }
    assert all(key in (secrets / f"s3_{name}").read_text() for name, key in keys.items())
    again = subprocess.run([sys.executable, INFRA / "make_secrets.py", secrets], check=True, capture_output=True, text=True)
    assert (again.stdout, (secrets / "POSTGRES_PASSWORD").read_text()) == ("", password)


def test_every_workload_in_kubernetes_is_restricted_has_a_probe_and_has_this_version():
    assert {workload["metadata"]["name"] for workload in workloads()} == {"worker-cpu", "worker-gpu", "receiver"}
    for workload in workloads():
        pod = workload["spec"]["template"]
        assert workload["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        mounted = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert container["image"].endswith(f":{__version__}")
            assert container["livenessProbe"]["httpGet"]["path"] == "/health"
            assert "memory" in container["resources"]["limits"]
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert {mount["name"] for mount in container["volumeMounts"]} == mounted
    (gpu,) = [container for container in containers() if "nvidia.com/gpu" in container["resources"]["limits"]]
    assert gpu["args"][gpu["args"].index("--limit") + 1] == str(gpu["resources"]["limits"]["nvidia.com/gpu"])


def test_kubernetes_has_all_required_settings_and_names_the_secrets():
    settings = MANIFESTS[0]["data"]
    literals = set(re.findall(r"--from-literal=(\w+)=", (INFRA / "kubernetes" / "vitau.yaml").read_text()))
    assert {name for name in (*settings, *literals) if name.startswith("VITAU_")} <= SETTINGS
    assert {*settings, *literals} >= REQUIRED
    assert not set(settings) & literals


def test_the_webhook_in_kubernetes_reaches_the_receiver():
    (service,) = [manifest for manifest in MANIFESTS if manifest["kind"] == "Service"]
    (port,) = service["spec"]["ports"]
    assert MANIFESTS[0]["data"]["VITAU_WEBHOOK_URL"] == f"http://{service['metadata']['name']}.vitau.svc:{port['port']}/webhook"
    (receiver,) = [container for container in containers() if container["name"] == "receiver"]
    assert receiver["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
    assert receiver["args"][-2:] == ["--port", str(port["port"])]
