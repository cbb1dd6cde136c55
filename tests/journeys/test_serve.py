"""A clinician drops a clip on the page of `vitau serve`, reads its report, and downloads the table."""

import csv
import os
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.people import draw_person

pytestmark = pytest.mark.journey
DROP = """async ([name, address]) => {
    const data = new DataTransfer();
    data.items.add(new File([await (await fetch(address)).arrayBuffer()], name));
    const dropped = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
    document.getElementById("drop").dispatchEvent(dropped);
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a running `vitau serve`."""
    command = [sys.executable, "-m", "vitau.cli", "serve", "--port", "0"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "visit 2.mp4"
    write_clip(path, draw_person(4, 1, palsied=True), frames_per_task=3)
    return path


def test_a_dropped_clip_becomes_a_report_and_a_table(address, clip, chromium, tmp_path):
    with chromium() as browser:
        context = browser.new_context(accept_downloads=True)
        page = context.new_page()
        foreign, errors = [], []
        page.on(
            "request",
            lambda request: foreign.append(request.url) if not request.url.startswith((address, "data:", "blob:")) else 0,
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.set_input_files("#files", clip)
        card = page.locator(".recording", has_text="visit 2.mp4")
        expect(card.get_by_text("done")).to_be_visible(timeout=120_000)
        with page.expect_download() as downloading:
            card.get_by_text("person (CSV)").click()
        downloading.value.save_as(tmp_path / "people.csv")
        with (tmp_path / "people.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["input"] for row in rows} == {"visit 2"}
        card.get_by_text("Open the report").click()
        expect(page.locator("h1")).to_contain_text("visit 2")
        for width, scheme in ((1280, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=tmp_path / f"report-{width}.png", full_page=True)
        assert len(page.pdf(format="A4")) > 20_000
        page.go_back()
        page.locator(".recording", has_text="visit 2.mp4").get_by_text("Delete").click()
        expect(page.locator(".recording")).to_have_count(0)
        assert (foreign, errors) == ([], [])


def test_a_dropped_file_that_is_no_recording_says_why(address, chromium):
    with chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        page.evaluate(DROP, ["notes.mp4", f"{address}page.js"])
        card = page.locator(".recording", has_text="notes.mp4")
        expect(card.get_by_text("failed")).to_be_visible(timeout=60_000)
        expect(card).to_contain_text("the recording")
        card.get_by_text("Delete").click()
        expect(card).to_have_count(0)
