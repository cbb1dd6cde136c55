"""Downloads of recordings from allowed hosts, in a process whose connections are checked.

The process resolves every name once and connects to the resolved addresses only. That holds for redirects, for the pages that
yt-dlp reads, and for the recording itself.
"""

import fcntl
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from vitau.errors import ClipError, StoreError
from vitau.media.sandbox import Limits, run_isolated

URL_HOSTS: Final = ("youtube.com", "youtu.be", "youtube-nocookie.com", "googlevideo.com", "youtubei.googleapis.com")
"""The hosts of YouTube."""
MAX_BYTES: Final = 4 << 30
"""Largest downloaded file."""
MAX_DURATION_S: Final = 6 * 3600.0
"""Longest downloaded recording; a clip is a range of it."""

_LIMITS: Final = Limits(cpu_s=900.0, wall_s=3600.0, file_bytes=MAX_BYTES)
_PORTS: Final = (80, 443)
_FORBIDDEN: Final = (
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.system",
    "socket.sendto",
    "socket.sendmsg",
    "socket.bind",
)
_FORMATS: Final = "/".join(  # one file by HTTP; sound is not needed
    f"{choice}[protocol~='^https?$']"
    for choice in ("bv*[height<=1080][ext=mp4]", "bv*[height<=1080]", "b[height<=1080]", "b", "bv*")
)
_UNREACHABLE: Final = "it cannot be reached or holds no video"


def download(url: str, folder: Path, hosts: Sequence[str] = URL_HOSTS) -> Path:
    """Return the file of a URL's recording in a folder, downloaded once for all clips of the same URL.

    A failure is remembered in the folder too: the URL is not requested again for another clip.

    Args:
        url: of a page or a file.
        folder: shared by the clips of one run.
        hosts: a host with its subdomains (ports 80 and 443, public addresses only), or ``HOST:PORT``, whose address may be any.

    Raises:
        ClipError: the host is not allowed, or there is no single recording of a permitted size.
        StoreError: the disk is full.
    """
    name = sha256(url.encode()).hexdigest()[:20]
    failure = folder / f"{name}.failed"
    lock = folder / f"{name}.lock"
    with _locked(lock):
        for existing in folder.glob(f"{name}.*"):
            if existing not in (failure, lock):
                return existing
        if failure.exists():
            raise ClipError(failure.read_text())
        try:
            return Path(run_isolated(partial(download_here, url, str(folder / name), tuple(hosts)), _LIMITS))
        except ClipError as error:
            for part in folder.glob(f"{name}.*"):
                if part != lock:
                    part.unlink()
            failure.write_text(str(error))
            raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"nothing can be downloaded ({os.strerror(error.errno or 0)}); check VITAU_WORK") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # also between threads: each has its own open file
        yield
    finally:
        os.close(lock)


def download_here(url: str, stem: str, hosts: tuple[str, ...]) -> str:
    """Download a recording to ``stem`` with a suffix, and return that path; this process can do nothing else afterwards.

    Raises:
        ClipError: as for :func:`download`.
    """
    guard = NetworkGuard(hosts)
    guard.install()
    import yt_dlp

    try:
        guard.check(*_place(url))
        with yt_dlp.YoutubeDL(_options(stem)) as downloader:
            info = _single(downloader.extract_info(url, download=False))
            downloader.process_info(info)
            path = Path(downloader.prepare_filename(info))
    except yt_dlp.utils.YoutubeDLError as error:
        information = getattr(error, "exc_info", None)
        cause = information[1] if information else None
        status = getattr(cause, "status", None)
        guard.explain()
        if "Requested format is not available" in str(error):
            _refuse("it offers no single file, such as a playlist of parts")
        _refuse(f"the server answers {status}" if status else _UNREACHABLE)
    except OSError:
        guard.explain()
        _refuse(_UNREACHABLE)
    if not path.is_file():
        _refuse(f"it has more than {MAX_BYTES >> 30} GiB")
    return str(path)


def _options(stem: str) -> dict[str, Any]:
    return {
        "format": _FORMATS,
        "outtmpl": f"{stem.replace('%', '%%')}.%(ext)s",
        "noplaylist": True,
        "extract_flat": "in_playlist",
        "playlist_items": "1:2",
        "max_filesize": MAX_BYTES,
        "socket_timeout": 20,
        "retries": 2,
        "fixup": "never",
        "proxy": "",
        "cachedir": False,
        "logger": _SilentLogger(),
        "noprogress": True,
        "quiet": True,
    }


def _single(info: dict[str, Any]) -> dict[str, Any]:
    """Return the one recording that a URL leads to."""
    if info.get("_type", "video") != "video":
        _refuse("its page has several videos; give the address of one of them")
    if info.get("is_live"):
        _refuse("it is a live broadcast")
    if (info.get("duration") or 0) > MAX_DURATION_S:
        _refuse(f"it lasts more than {MAX_DURATION_S / 3600:g} h")
    if info.get("requested_formats") or info.get("protocol") not in {"http", "https"}:
        _refuse("it offers no single file, such as a playlist of parts")
    return info


def _place(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or (80 if parts.scheme.lower() == "http" else 443)
    except ValueError:
        _refuse("its address is no URL")


def _refuse(what: str) -> NoReturn:
    raise ClipError(f"its URL cannot be downloaded, {what}; check it in a browser")


class NetworkGuard:
    """Allows this process to connect to the addresses of the allowed hosts only, and to start no other program."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = tuple(host.lower().strip(".") for host in hosts)
        self._resolve = socket.getaddrinfo
        self._pinned: dict[tuple[str, int], list[Any]] = {}
        self._allowed: set[tuple[str, int]] = set()
        self._reason = ""

    def install(self) -> None:
        """Check everything from now on; this cannot be undone."""
        socket.getaddrinfo = self._getaddrinfo
        sys.addaudithook(self._audit)

    def check(self, host: str, port: int) -> None:
        """Raise if a host is not allowed.

        Raises:
            PermissionError: it is not in the list, or its port is not.
        """
        host = host.lower().strip(".")
        if f"{host}:{port}" in self._hosts:
            return
        if port not in _PORTS or not any(host == name or host.endswith(f".{name}") for name in self._hosts):
            self._block("it leads to a host that VITAU_URL_HOSTS does not list")

    def explain(self) -> None:
        """Raise the reason of a blocked connection, if there was one.

        Raises:
            ClipError: a connection was blocked.
        """
        if self._reason:
            _refuse(self._reason)

    def _getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        name, number = str(host or "").lower().strip("."), int(port or 0)
        self.check(name, number)
        if (name, number) not in self._pinned:
            found = self._resolve(name, number, type=socket.SOCK_STREAM)
            if f"{name}:{number}" not in self._hosts and not all(_is_public(str(entry[4][0])) for entry in found):
                self._block("its host has an address in a private network")
            self._pinned[name, number] = found
            self._allowed |= {(str(entry[4][0]), int(entry[4][1])) for entry in found}
        return self._pinned[name, number]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            address = arguments[1]
            if not isinstance(address, tuple) or address[:2] not in self._allowed:
                self._block("it leads to an address that belongs to no allowed host")
        elif event in _FORBIDDEN:
            raise PermissionError(f"{event} is not allowed in a download")

    def _block(self, reason: str) -> NoReturn:
        self._reason = reason
        raise PermissionError(reason)


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast


class _SilentLogger:
    """Discards the log of yt-dlp, which also raises its errors."""

    def debug(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...
