"""Downloads from real servers on loopback: allowed and forbidden hosts, redirects, playlists, and pages."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.media.conftest import WriteVideo, numbered
from tests.media.web import WebServer, web_server
from vitau.errors import ClipError
from vitau.media import download as module
from vitau.media.clips import sample_frames
from vitau.media.download import NetworkGuard, download
from vitau.media.manifests import SourceClip
from vitau.media.sandbox import run_isolated
from vitau.media.sources import fetch
from vitau.schema import Cohort

REFUSED = "its URL cannot be downloaded, {}; check it in a browser"
NOT_LISTED = "it leads to a host that VITAU_URL_HOSTS does not list"


@pytest.fixture
def web(tmp_path: Path, write_video: WriteVideo) -> Iterator[WebServer]:
    """Start an allowed server with ``talk.mp4``."""
    with web_server(tmp_path / "web") as server:
        write_video(numbered(60)).rename(tmp_path / "web" / "talk.mp4")
        yield server


@pytest.fixture
def inside(tmp_path: Path, write_video: WriteVideo) -> Iterator[WebServer]:
    """Start a service that no download may reach, with ``secret.mp4``."""
    with web_server(tmp_path / "inside") as server:
        write_video(numbered(30)).rename(tmp_path / "inside" / "secret.mp4")
        yield server


def source_clip(**changes: object) -> SourceClip:
    return SourceClip(**{"row": "row 7", "subject_id": "anna", "cohort": Cohort.PALSY, "source": "clinic", **changes})


def refusal(url: str, folder: Path, *hosts: str) -> str:
    folder.mkdir(exist_ok=True)
    with pytest.raises(ClipError) as refused:
        download(url, folder, hosts)
    assert not [path for path in folder.iterdir() if path.suffix not in {".lock", ".failed"}], "something was kept"
    return str(refused.value)


def test_a_url_is_downloaded_once_for_all_its_ranges(tmp_path: Path, web: WebServer) -> None:
    paths = [
        fetch(
            source_clip(url=web.url("talk.mp4"), start_s=start_s, end_s=start_s + 1),
            tmp_path / f"{start_s}",
            hosts=(web.place,),
            downloads=tmp_path / "web",
        )
        for start_s in (0.0, 1.0, 0.5)
    ]
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == (tmp_path / "web" / "talk.mp4").read_bytes()
    assert next(sample_frames(paths[0], start_s=1.0)).image.mean() / 4 == pytest.approx(30, abs=1)
    assert web.requested.count("/talk.mp4") <= 2  # one request for metadata and one download
    assert "talk" not in paths[0].name


def test_a_url_that_failed_is_not_requested_again_in_the_same_run(tmp_path: Path, web: WebServer) -> None:
    reasons = {refusal(web.url("gone.mp4"), tmp_path / "work", web.place) for _ in range(3)}
    assert reasons == {REFUSED.format("the server answers 404")}
    assert web.requested.count("/gone.mp4") == 1


def test_an_error_speaks_of_the_row(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=rf"^row 7: its URL cannot be downloaded, {NOT_LISTED}; check it in a browser$"):
        fetch(source_clip(url="http://127.0.0.1:9/anna.mp4"), tmp_path / "work")


def test_a_host_that_is_not_listed_gets_no_request(tmp_path: Path, inside: WebServer) -> None:
    assert refusal(inside.url("secret.mp4"), tmp_path / "work") == REFUSED.format(NOT_LISTED)
    assert refusal(inside.url("secret.mp4"), tmp_path / "work2", "127.0.0.1") == REFUSED.format(NOT_LISTED), "another port"
    assert inside.requested == []


@pytest.mark.parametrize("scheme", ["file:///etc/hostname", "ftp://127.0.0.1/a.mp4"])
def test_only_http_is_spoken(tmp_path: Path, scheme: str) -> None:
    assert refusal(scheme, tmp_path / "work").startswith("its URL cannot be downloaded, ")


def test_a_redirect_does_not_lead_into_a_service_on_loopback(tmp_path: Path, web: WebServer, inside: WebServer) -> None:
    web.redirects["/talk"] = inside.url("secret.mp4")
    assert refusal(web.url("talk"), tmp_path / "work", web.place) == REFUSED.format(NOT_LISTED)
    assert inside.requested == []


def test_a_playlist_of_parts_is_refused_and_its_addresses_are_not_requested(
    tmp_path: Path, web: WebServer, inside: WebServer
) -> None:
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{inside.url('secret.mp4')}\n#EXT-X-ENDLIST\n"
    (tmp_path / "web" / "list.m3u8").write_text(text)
    assert refusal(web.url("list.m3u8"), tmp_path / "work", web.place).startswith("its URL cannot be downloaded, ")
    assert inside.requested == []


def test_a_page_with_two_videos_is_refused_and_one_with_a_single_video_is_not(tmp_path: Path, web: WebServer) -> None:
    page = "<html><head><title>t</title></head><body>{}</body></html>"
    video = '<video src="{}"></video>'
    (tmp_path / "web" / "two.html").write_text(page.format(video.format("talk.mp4") + video.format("talk.mp4?again")))
    (tmp_path / "web" / "one.html").write_text(page.format(video.format("talk.mp4")))
    several = "its page has several videos; give the address of one of them"
    assert refusal(web.url("two.html"), tmp_path / "work", web.place) == REFUSED.format(several)
    (tmp_path / "single").mkdir()
    path = download(web.url("one.html"), tmp_path / "single", (web.place,))
    assert path.read_bytes() == (tmp_path / "web" / "talk.mp4").read_bytes()


def test_a_recording_that_is_too_large_is_refused(tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIMITS", module.Limits(file_bytes=1000))
    assert refusal(web.url("talk.mp4"), tmp_path / "work", web.place).startswith("its URL cannot be downloaded, ")


def guarded(hosts: tuple[str, ...], names: dict[str, str], attempt: Callable[[], object]) -> str:
    """Return what an attempt raises in a guarded process with these addresses of names."""
    guard = NetworkGuard(hosts)
    guard._resolve = lambda name, port, **_: [(2, 1, 6, "", (names.pop(name), port))]  # type: ignore[assignment,misc,return-value]
    guard.install()
    try:
        attempt()
    except (PermissionError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def connect(*places: tuple[str, int]) -> None:
    for place in places:
        try:
            socket.create_connection(place, timeout=0.2).close()
        except (TimeoutError, ConnectionError):  # nobody listens there
            continue


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "192.168.0.9",
        "100.64.0.1",
        "0.0.0.1",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
    ],
)
def test_a_listed_name_with_a_private_address_is_refused(address: str) -> None:
    raised = run_isolated(
        partial(guarded, ("video.example",), {"video.example": address}, partial(connect, ("video.example", 443)))
    )
    assert raised == "PermissionError: its host has an address in a private network"


def test_a_name_is_resolved_once() -> None:
    """The resolver of the test knows the name once: a second question would be a KeyError."""
    twice = partial(connect, ("video.example", 9), ("video.example", 9))
    assert run_isolated(partial(guarded, ("video.example:9",), {"video.example": "127.0.0.1"}, twice)) == "nothing"


def test_an_address_without_a_name_is_refused() -> None:
    refused = "PermissionError: it leads to a host that VITAU_URL_HOSTS does not list"
    assert run_isolated(partial(guarded, ("video.example",), {}, partial(connect, ("127.0.0.1", 443)))) == refused


def connect_directly() -> None:
    with socket.socket() as plain:
        plain.connect(("127.0.0.1", 443))


def start_a_program() -> None:
    subprocess.run(["/bin/true"], check=True)


@pytest.mark.parametrize(
    ("attempt", "raised"),
    [
        (connect_directly, "PermissionError: it leads to an address that belongs to no allowed host"),
        (start_a_program, "PermissionError: subprocess.Popen is not allowed in a download"),
    ],
)
def test_nothing_goes_around_the_resolver(attempt: Callable[[], object], raised: str) -> None:
    assert run_isolated(partial(guarded, ("video.example",), {}, attempt)) == raised
