"""No page of ours or of the services contacts another host: each is opened in a real browser, and its requests are listed."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from flows.local_stack import services as definitions
from flows.local_stack import stack
from flows.reports.pages import labeling_projects
from flows.settings import load_settings

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

WAIT_MS = 90_000
SETTLE_MS = 2_000  # trackers are loaded after the page
MLFLOW = ("#/experiments?workflowType=machine_learning", "#/models", "#/models/vitau-palsy", "#/models/vitau-palsy/versions/1")
HOME = (1400, 1000, 390)
PREFECT = ("dashboard", "runs", "flows", "deployments", "artifacts", "settings")


def test_no_page_contacts_another_host(demos, services, chromium):
    """The pages of `vitau serve` are opened by the journey about it, which lists foreign requests too."""
    seen: dict[str, Any] = {"hosts": {}, "titles": []}
    thread = threading.Thread(target=open_everything, args=(chromium, services, seen))
    thread.start()
    thread.join(600)
    assert seen.get("error") is None
    assert len(seen["titles"]) == 4 + len(MLFLOW) + len(PREFECT) + 2 + len(HOME), seen["titles"]
    assert {page: hosts for page, hosts in seen["hosts"].items() if hosts} == {}


def open_everything(chromium, services, seen: dict[str, Any]) -> None:
    """Open every page, and record the hosts that it contacts beside loopback."""
    try:
        with chromium() as browser:
            log_ins = {log_in.service: log_in for log_in in stack.log_ins(services.state)}
            settings = load_settings(services.environment)
            label_studio(browser, settings, log_ins["Label Studio"], seen)
            mlflow = log_ins["MLflow"]
            context = browser.new_context(http_credentials={"username": mlflow.user, "password": mlflow.password})
            for path in MLFLOW:
                visit(context.new_page(), f"{settings.mlflow_url}/{path}", seen)
            prefect(browser, services.environment["PREFECT_API_URL"].removesuffix("/api"), log_ins["Prefect"], seen)
            for report in ("report.html", "labeling.html"):
                visit(browser.new_page(), (Path(services.state) / report).as_uri(), seen)
            home(browser, Path(services.state), seen)
    except BaseException as error:  # the thread's failure is the test's
        seen["error"] = repr(error)
        raise


def label_studio(browser: Browser, settings, log_in: stack.LogIn, seen: dict[str, Any]) -> None:
    page = browser.new_context().new_page()
    visit(page, f"{settings.label_studio_url}/user/login/", seen)
    page.fill("input[name=email]", definitions.USER)
    page.fill("input[name=password]", log_in.password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "/user/login" not in url, timeout=WAIT_MS)
    project = labeling_projects(settings)[0]["id"]
    for path in ("projects", f"projects/{project}/data", f"projects/{project}/data?labeling=1"):
        visit(page, f"{settings.label_studio_url}/{path}", seen)


def home(browser: Browser, state: Path, seen: dict[str, Any]) -> None:
    """Open the manager's page of a running study at three widths: its pictures are shown, its links answer, nothing is cut."""
    command = [sys.executable, "-m", "flows", "home", "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as served:
        try:
            told = (re.search(rb"http://127.0.0.1:[0-9]+/", line) for line in served.stdout)
            address = next(found[0].decode() for found in told if found)
            for width in HOME:
                page = browser.new_page(viewport={"width": width, "height": 844})
                visit(page, address, seen)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert page.evaluate("[...document.images].every(picture => picture.naturalWidth > 0)")
            links = page.eval_on_selector_all("a", "links => links.map(link => link.href)")
            assert {"consensus.csv", "consensus.xlsx", "newest-report"} <= {link.removeprefix(address) for link in links}
            answers = {link: page.request.get(link) for link in links if link.startswith(address)}
            assert {link: answer.status for link, answer in answers.items() if not answer.ok} == {}
            table = answers[f"{address}consensus.csv"].text().splitlines()
            assert table[0].startswith("subject,visit,state,side,AU1,")
            assert any(",labeled," in line for line in table)
        finally:
            served.send_signal(signal.SIGINT)


def prefect(browser: Browser, url: str, log_in: stack.LogIn, seen: dict[str, Any]) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(url)
    page.fill("input[type=password]", f"{log_in.user}:{log_in.password}")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Flow Runs", timeout=WAIT_MS)
    for path in PREFECT:
        visit(page, f"{url}/{path}", seen)


def visit(page: Page, address: str, seen: dict[str, Any]) -> None:
    """Open a page, and record its title and the foreign hosts of its requests."""
    hosts: set[str] = seen["hosts"].setdefault(address, set())
    page.on("request", lambda request: hosts.update(foreign(request.url)))
    page.goto(address, timeout=WAIT_MS, wait_until="domcontentloaded")
    page.wait_for_timeout(SETTLE_MS)
    seen["titles"].append(page.title())


def foreign(url: str) -> list[str]:
    """Return the host of a request to another machine."""
    parts = urlsplit(url)
    return [f"{parts.hostname}"] if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname != "127.0.0.1" else []
