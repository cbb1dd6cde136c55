"""Static checks of compose file, images and Kubernetes manifests: they fit each other, the settings and the code."""

import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from flows.__main__ import app as flows_app
from flows.deploy import HEARTBEAT_S, QUEUES, deployments
from flows.execution.orphaned_runs import SILENCE_S
from flows.local_stack import backends
from flows.local_stack.mlflow_server import write_access
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
NAMES = "VITAU_PSEUDONYM_KEY"
IMAGES = dict(re.findall(r"^(\w+)=(.+)$", (INFRA / "images.env").read_text(), re.MULTILINE))
BY_NAME = pytest.mark.parametrize("name", SERVICES)


def workloads() -> Iterator[dict[str, Any]]:
    return (manifest for manifest in MANIFESTS if manifest["kind"] == "Deployment")


def jobs() -> Iterator[dict[str, Any]]:
    return (manifest for manifest in MANIFESTS if manifest["kind"] == "Job")


def containers() -> Iterator[dict[str, Any]]:
    return (container for workload in workloads() for container in workload["spec"]["template"]["spec"]["containers"])


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("infra") / "secrets"
    subprocess.run([sys.executable, INFRA / "make_secrets.py", folder], check=True, capture_output=True)
    return folder


def named(service: dict[str, Any]) -> dict[str, str]:
    """Return target → source of the secrets of a service."""
    listed = [
        {"source": secret, "target": secret} if isinstance(secret, str) else secret for secret in service.get("secrets", ())
    ]
    return {secret["target"]: secret["source"] for secret in listed}


def image_of(name: str) -> str:
    """Return the image of a service, those of others from `images.env`."""
    return re.sub(r"\$\{(\w+):\?[^}]+\}", lambda found: IMAGES[found[1]], SERVICES[name]["image"])


@BY_NAME
def test_every_image_is_pinned_to_a_version_and_our_images_to_this_one(name):
    image, _, version = image_of(name).partition("@")[0].partition(":")
    assert re.fullmatch(r"v?\d+(\.\d+)+(-[a-z]+)?", version), f"{image}:{version}"
    if image in DOCKERFILES:
        assert version == __version__
    else:
        assert SERVICES[name]["image"].startswith("${"), "the images of others are in images.env, with their digests"


def test_every_image_of_others_has_a_digest_or_is_listed_with_the_command_that_fills_it_in():
    done = subprocess.run([sys.executable, INFRA / "pin_images.py", "--check"], capture_output=True, text=True, check=False)
    listed = {
        image
        for image in IMAGES.values()
        if f"{image} is not pinned by digest: run `python3 infra/pin_images.py`" in done.stdout
    }
    pinned = {image for image in IMAGES.values() if re.fullmatch(r"[a-z0-9./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)}
    assert listed | pinned == set(IMAGES.values())
    assert not listed & pinned
    assert done.returncode == (1 if listed else 0)
    used = set(re.findall(r"\$\{(\w+_IMAGE)", (INFRA / "compose.yaml").read_text()))
    assert used == set(IMAGES)
    assert re.findall(r"^FROM (.+)$", DOCKERFILES["vitau-app"].read_text(), re.MULTILINE) == ["${PYTHON_IMAGE}"]


def test_the_digests_come_from_the_registry_and_are_kept(tmp_path):
    (tmp_path / "images.env").write_text(f"# the images\nA_IMAGE=a:1.0\nB_IMAGE=b/c:2.1@sha256:{'b' * 64}\n")
    (tmp_path / "pin_images.py").write_text((INFRA / "pin_images.py").read_text())
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\necho "$DIGEST"\n')
    docker.chmod(0o755)

    def pin(digest: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{docker.parent}:/usr/bin:/bin", "DIGEST": digest}
        return subprocess.run(
            [sys.executable, tmp_path / "pin_images.py"], env=environment, capture_output=True, text=True, check=False
        )

    refused = pin("sha256:short")
    assert (refused.returncode, refused.stderr) == (1, "Error: no digest for a:1.0: it answered 'sha256:short'\n")
    assert pin(f"sha256:{'a' * 64}").returncode == 0
    assert (tmp_path / "images.env").read_text() == (
        f"# the images\nA_IMAGE=a:1.0@sha256:{'a' * 64}\nB_IMAGE=b/c:2.1@sha256:{'b' * 64}\n"
    )
    assert "b/c" not in (tmp_path / "asked").read_text()
    (tmp_path / "images.env").write_text("A_IMAGE=a:1.0@sha256:abc\n")
    assert pin("").stderr.startswith("Error: images.env: 'A_IMAGE=a:1.0@sha256:abc' is not VARIABLE=name:version")


@BY_NAME
def test_every_container_is_one_user_without_privileges_on_a_file_system_that_it_cannot_change(name):
    service = SERVICES[name]
    assert service["user"] == ("0:0" if name == "volumes" else "10001:10001")
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == {"proxy": ["NET_BIND_SERVICE"], "volumes": ["CHOWN", "FOWNER"]}.get(name, [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]  # noqa: S108 - of the container
    assert not {"privileged", "pid", "ipc", "userns_mode", "devices"} & set(service)
    written = {volume.split(":")[0] for volume in service.get("volumes", ()) if not volume.endswith(":ro")}
    assert not any(source.startswith((".", "/")) for source in written), "no container writes to the host"


def test_networks_are_private_and_connect_only_services_that_talk_to_each_other():
    members: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for network in service.get("networks", ()):
            members.setdefault(network, set()).add(name)
    assert {name for name, network in COMPOSE["networks"].items() if not network.get("internal")} == {"outside", "downloads"}
    assert members["outside"] == {"proxy"}
    assert members["downloads"] == {"worker-ingest"}
    assert members["objects"] == {"proxy", "seaweedfs"}, "master, volume server and filer ask for no key"
    assert members["databases"] == {"postgresql", "label-studio", "mlflow", "prefect"}
    assert "postgresql" not in members["inside"]
    assert not members["catalog"] & {"label-studio", "mlflow", "prefect", "proxy", "seaweedfs"}


def test_only_the_worker_that_ingests_has_the_key_of_the_pseudonyms():
    assert {name for name, service in SERVICES.items() if NAMES in named(service)} == {"worker-ingest"}
    assert {name for name, files in workload_secrets().items() if NAMES in files} == {"worker-ingest"}
    command = SERVICES["worker-ingest"]["command"]
    assert command[command.index("--work-queue") + 1] == "clips"
    assert {d["work_pool"]["work_queue_name"] for d in deployments() if d["name"] in {"ingest", "erase"}} == {"clips"}


def test_every_service_has_the_identity_of_s3_and_the_role_of_postgresql_that_it_needs():
    identities = {
        name: Path(service["environment"]["AWS_SHARED_CREDENTIALS_FILE"]).name
        for name, service in SERVICES.items()
        if "AWS_SHARED_CREDENTIALS_FILE" in (service.get("environment") or {})
    }
    flows = dict.fromkeys(("deployments", "worker-ingest", "worker-labels", "receiver"), "s3_vitau")
    assert identities == {**flows, "worker-gpu": "s3_scoring", "mlflow": "s3_mlflow", "buckets": "s3_admin"}
    for name, identity in identities.items():
        assert {file for file in named(SERVICES[name]) if file.startswith("s3_")} == {identity}
    assert {name for name, service in SERVICES.items() if "catalog_owner" in named(service).values()} == {"catalog"}
    assert {name for name, service in SERVICES.items() if "VITAU_CATALOG_ERASER" in named(service)} == {"worker-ingest"}
    superuser = {name for name, service in SERVICES.items() if "POSTGRES_PASSWORD" in named(service).values()}
    assert superuser == {"postgresql"}


def test_the_identities_of_s3_are_those_of_the_local_stack(secrets):
    kept = dict.fromkeys(("s3_admin_secret", "s3_secret", "scoring_s3_secret", "pages_s3_secret", "mlflow_s3_secret"), "")
    local = {identity["name"]: identity["actions"] for identity in backends.identities(kept)}
    ours = {identity["name"]: identity["actions"] for identity in json.loads((secrets / "s3.json").read_text())["identities"]}
    assert ours == local


def test_the_access_to_mlflow_is_that_of_the_local_stack(secrets, tmp_path):
    write_access(tmp_path, "the database")
    local = (tmp_path / "access.ini").read_text()
    assert re.sub(r"postgresql\S+", "the database", (secrets / "mlflow_access.ini").read_text()) == local


def test_the_build_of_an_image_sees_what_it_copies_and_nothing_else():
    copied = {
        name
        for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILES["vitau-app"].read_text(), re.MULTILINE)
        for name in line.split()
    }
    lines = (INFRA / "app.Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert not any("secrets" in name and name != "infra/with-secrets" for name in copied)


@BY_NAME
def test_only_the_proxy_has_open_ports_and_the_outer_network(name):
    service = SERVICES[name]
    host = service.get("network_mode", "none") != "none"
    open_to_all = "ports" in service or "outside" in service.get("networks", ()) or host
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
    volumes, used = set(), set()
    for service in SERVICES.values():
        used |= set(named(service).values())
        for volume in service.get("volumes", ()):
            source = re.sub(r"^\$\{\w+:-(\w+)\}", r"\1", volume).split(":")[0]
            if source.startswith("./"):
                assert (INFRA / source).exists(), source
            else:
                volumes.add(source)
    assert volumes == set(COMPOSE["volumes"])
    assert used == set(COMPOSE["secrets"])
    assert {secret["file"] for secret in COMPOSE["secrets"].values()} == {
        f"./secrets/{path.name}" for path in secrets.iterdir()
    }


def test_no_environment_holds_a_secret(secrets):
    values = {path.read_text() for path in secrets.iterdir()}
    environments = [service.get("environment") or {} for service in SERVICES.values()]
    environments.append(MANIFESTS[0]["data"])
    environments += [{entry["name"]: entry["value"] for entry in container["env"]} for container in containers()]
    allowed = {"VITAU_PAGES_ACCESS_KEY": "pages", "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true"}
    for given in environments:
        secret = {
            key: value for key, value in given.items() if re.search("PASSWORD|SECRET|TOKEN|KEY|AUTH_STRING|URI$|CATALOG", key)
        }
        left = {
            key: value for key, value in secret.items() if not re.match("/run/secrets/", value) and allowed.get(key) != value
        }
        assert left == {}
        assert not values & set(given.values())
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o400 for path in secrets.iterdir())
    assert "/infra/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", FLOWS)
def test_a_service_that_runs_flows_has_all_required_settings_and_no_unknown_one(name):
    given = {key for key in (*FLOWS[name]["environment"], *named(FLOWS[name])) if key.startswith("VITAU_")}
    assert given >= REQUIRED
    assert given <= SETTINGS


def test_workers_serve_every_pool_and_send_heartbeats_as_the_observer_expects():
    commands = [
        *(SERVICES[name]["command"] for name in ("worker-ingest", "worker-labels")),
        json.loads(re.findall(r"^CMD (.+)$", DOCKERFILES["vitau-trainer"].read_text(), re.MULTILINE)[0]),
    ]
    assert {command[command.index("--pool") + 1] for command in commands} == {queue.pool for queue in QUEUES}
    assert {command[command.index("--work-queue") + 1] for command in commands[:2]} == {
        queue.name for queue in QUEUES if queue.pool == "cpu"
    }
    assert commands[2][commands[2].index("--limit") + 1] == "1", "one run for each GPU"
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


def test_every_workload_in_kubernetes_is_restricted_has_a_probe_and_has_this_version():
    assert {workload["metadata"]["name"] for workload in workloads()} == {
        "worker-ingest",
        "worker-labels",
        "worker-gpu",
        "receiver",
    }
    for workload in workloads():
        pod = workload["spec"]["template"]
        assert workload["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        mounted = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            assert container["image"].endswith(f":{__version__}")
            assert container["livenessProbe"]["httpGet"]["path"] == "/health"
            assert "memory" in container["resources"]["limits"]
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {mount["name"] for mount in container["volumeMounts"]} == mounted
        (waiting,) = pod["spec"]["initContainers"]
        assert waiting["args"] == [*COMPOSE["services"]["catalog"]["command"], "--wait"]
        assert waiting["image"] == f"vitau-app:{__version__}"
        assert waiting["securityContext"] == pod["spec"]["containers"][0]["securityContext"]
        assert {"name": "secrets", "mountPath": "/run/secrets", "readOnly": True} in waiting["volumeMounts"]
    (gpu,) = [container for container in containers() if "nvidia.com/gpu" in container["resources"]["limits"]]
    assert gpu["args"][gpu["args"].index("--limit") + 1] == str(gpu["resources"]["limits"]["nvidia.com/gpu"])


def test_one_job_in_kubernetes_upgrades_the_catalog_as_its_owner_and_no_workload_has_that_role():
    (job,) = jobs()
    assert job["metadata"]["name"] == f"catalog-{__version__.replace('.', '-')}", "a job cannot be changed"
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == SERVICES["catalog"]["command"]
    assert container["image"] == f"vitau-app:{__version__}"
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    holders = workload_secrets([*workloads(), job])
    name = job["metadata"]["name"]
    assert holders[name] == set(named(SERVICES["catalog"])) == {"VITAU_CATALOG", "VITAU_CATALOG_OWNER"}
    assert {holder for holder, files in holders.items() if "VITAU_CATALOG_OWNER" in files} == {name}


def workload_secrets(manifests: Iterable[dict[str, Any]] = ()) -> dict[str, set[str]]:
    """Return the files in /run/secrets of each workload, by the commands at the top of the manifest."""
    text = (INFRA / "kubernetes" / "vitau.yaml").read_text()
    created = {
        name: {key or source for key, source in re.findall(r"--from-file=(?:(\w+)=)?\$s/(\S+)", rest)}
        for name, rest in re.findall(r"create secret generic (\S+) (.+)$", text, re.MULTILINE)
    }
    found: dict[str, set[str]] = {}
    for workload in manifests or workloads():
        pod = workload["spec"]["template"]["spec"]
        (projected,) = [volume["projected"] for volume in pod["volumes"] if volume["name"] == "secrets"]
        assert projected["defaultMode"] == 0o440
        names = [source["secret"]["name"] for source in projected["sources"]]
        found[workload["metadata"]["name"]] = set().union(*(created[name] for name in names))
    return found


def test_the_workloads_of_kubernetes_have_the_secrets_of_their_services_in_compose(secrets):
    for name, files in workload_secrets().items():
        assert files == set(named(SERVICES[name])), name
        assert {file for file in files if not (secrets / file).exists()} == set()
        (container,) = [c for c in containers() if c["volumeMounts"] and c in workload_containers(name)]
        assert {"name": "secrets", "mountPath": "/run/secrets", "readOnly": True} in container["volumeMounts"]
        (credentials,) = container["env"]
        assert credentials["value"] == SERVICES[name]["environment"]["AWS_SHARED_CREDENTIALS_FILE"]


def workload_containers(name: str) -> list[dict[str, Any]]:
    (workload,) = [workload for workload in workloads() if workload["metadata"]["name"] == name]
    found: list[dict[str, Any]] = workload["spec"]["template"]["spec"]["containers"]
    return found


def test_kubernetes_has_all_required_settings_and_the_log_ins_that_the_proxy_asks():
    settings = set(MANIFESTS[0]["data"])
    for files in workload_secrets().values():
        assert {name for name in settings | files if name.startswith("VITAU_")} <= SETTINGS
        assert settings | files >= REQUIRED
        assert settings | files >= {"PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
        assert not settings & files


def test_nothing_in_kubernetes_answers_but_the_receiver():
    policies = {manifest["metadata"]["name"]: manifest["spec"] for manifest in MANIFESTS if manifest["kind"] == "NetworkPolicy"}
    assert policies["closed"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert policies["webhooks"]["podSelector"] == {"matchLabels": {"app": "receiver"}}
    assert policies["webhooks"]["ingress"] == [{"ports": [{"port": 8090}]}]


def test_the_webhook_in_kubernetes_reaches_the_receiver():
    (service,) = [manifest for manifest in MANIFESTS if manifest["kind"] == "Service"]
    (port,) = service["spec"]["ports"]
    assert MANIFESTS[0]["data"]["VITAU_WEBHOOK_URL"] == f"http://{service['metadata']['name']}.vitau.svc:{port['port']}/webhook"
    (receiver,) = [container for container in containers() if container["name"] == "receiver"]
    assert receiver["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
    assert receiver["args"][-2:] == ["--port", str(port["port"])]
