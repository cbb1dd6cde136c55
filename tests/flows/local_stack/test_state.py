"""The state folder and the programs' variables: who may read what."""

import os
import stat
import sys
import time

import pytest

from flows.local_stack import services, stack, supervisor
from flows.local_stack.state import SECRET_VARIABLES, Profile, Program, free_ports, read_secrets, restrict_modes
from flows.local_stack.supervisor import ManagedService

WRITE = (
    "import os, pathlib\nfrom http.server import *\n"
    "pathlib.Path('written').write_text(repr(dict(os.environ)))\nos.mkdir('made')\n"
    "ThreadingHTTPServer(('127.0.0.1', {}), SimpleHTTPRequestHandler).serve_forever()"
)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_of_an_earlier_version_is_readable_by_its_owner_only_after_the_next_start(tmp_path):
    state = tmp_path / "demo"
    (state / "store" / "subjects").mkdir(parents=True)
    face, tool, link = state / "store" / "subjects" / "face.jpg", state / "tool.sh", state / "outside"
    elsewhere = tmp_path / "elsewhere"
    for path in (face, tool, elsewhere):
        path.write_text("")
        path.chmod(0o644)
    tool.chmod(0o755)
    link.symlink_to(elsewhere)
    state.chmod(0o755)
    assert restrict_modes(state) > 0
    assert (mode(state), mode(state / "store"), mode(face), mode(tool)) == (0o700, 0o700, 0o600, 0o700)
    assert mode(elsewhere) == 0o644, "a link leads out of the folder"
    assert restrict_modes(state) == 0


def test_what_a_service_writes_is_readable_by_its_owner_only_and_it_gets_no_secret_of_the_operator(tmp_path, monkeypatch):
    for name in SECRET_VARIABLES:
        monkeypatch.setenv(name, "a secret of another installation")
    monkeypatch.setenv("VITAU_SIZE", "small")
    before = os.umask(0o022)
    try:
        (port,) = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        program = Program(name="mlflow", command=[sys.executable, "-c", WRITE.format(port)], health=url)
        managed = ManagedService(program=program, service=stack.Service(name="mlflow", url=url, health=url, pid=0, started=0))
        deadline = time.monotonic() + 60
        while not managed.ready and time.monotonic() < deadline:
            supervisor.check_service(managed, [managed], tmp_path)
            time.sleep(0.05)
        supervisor.stop_services([managed])
    finally:
        os.umask(before)
    assert (mode(tmp_path / "written"), mode(tmp_path / "made")) == (0o600, 0o700)
    environment = (tmp_path / "written").read_text()
    assert "another installation" not in environment
    assert "VITAU_SIZE" in environment, "settings of the operator reach the workers"


def test_a_step_after_the_first_answer_runs_once_and_its_failure_stops_nothing(tmp_path, capsys):
    from vitau.errors import StackError

    finished = []

    def finish() -> None:
        finished.append(True)
        raise StackError("MLflow refuses")

    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    program = Program(name="mlflow", command=[sys.executable, "-c", WRITE.format(port)], health=url, finish=finish)
    managed = ManagedService(program=program, service=stack.Service(name="mlflow", url=url, health=url, pid=0, started=0))
    deadline = time.monotonic() + 60
    while not managed.ready and time.monotonic() < deadline:
        supervisor.check_service(managed, [managed], tmp_path)
        time.sleep(0.05)
    supervisor.check_service(managed, [managed], tmp_path)
    supervisor.stop_services([managed])
    assert finished == [True]
    assert "mlflow: MLflow refuses" in capsys.readouterr().out


HOLDERS = {
    "pseudonym_key": {"worker-cpu"},
    "webhook_secret": {"worker-cpu", "worker-gpu", "receiver"},
    "signing_key": {"worker-cpu", "worker-gpu", "receiver"},
    "label_studio_token": {"label-studio", "worker-cpu", "worker-gpu", "receiver"},
    "label_studio_password": {"label-studio"},
    "prefect_password": {"prefect", "worker-cpu", "worker-gpu", "receiver"},
    "mlflow_password": {"mlflow", "worker-cpu", "worker-gpu", "receiver"},
    "mlflow_reader_password": set(),
    "mlflow_secret": {"mlflow"},
    "s3_secret": {"worker-cpu", "receiver"},
    "scoring_s3_secret": {"worker-gpu"},
    "pages_s3_secret": {"worker-cpu", "worker-gpu", "receiver"},  # they connect new projects of Label Studio
    "mlflow_s3_secret": {"mlflow"},
    "s3_admin_secret": set(),
    "postgresql_password": set(),  # the superuser's
    "database_catalog_owner": set(),
    "database_catalog_writer": {"worker-cpu", "worker-gpu", "receiver"},
    "database_eraser": {"worker-cpu"},
    "database_prefect": {"prefect"},
    "database_mlflow": {"mlflow"},
    "database_label_studio": {"label-studio"},
}


@pytest.mark.parametrize("secret", HOLDERS)
def test_a_program_of_the_full_profile_gets_the_secrets_that_it_needs_and_no_others(secret, tmp_path, monkeypatch):
    monkeypatch.setattr(services, "gpu_workers", lambda: ("worker-gpu",))
    names = services.names(Profile.FULL)
    urls = {name: services.address(name, 20_000 + number) for number, name in enumerate(names)}
    value = read_secrets(tmp_path)[secret]
    programs = [services.program(name, tmp_path, Profile.FULL, urls) for name in names]
    assert {program.name for program in programs if any(value in text for text in program.environment.values())} == HOLDERS[
        secret
    ]
    assert not any(value in word for program in programs for word in program.command), "commands are visible to every user"
