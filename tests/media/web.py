"""A web server on loopback for the tests of downloads: files of a folder, redirects, and the requested paths."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class WebServer:
    """The address ``host:port`` of a server, and the paths that were requested from it; ``redirects`` maps paths to URLs."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.requested: list[str] = []
        self.redirects: dict[str, str] = {}

    def url(self, path: str) -> str:
        return f"http://{self.place}/{path}"


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: object, web: list[WebServer], directory: str) -> None:
        self.web = web[0]
        super().__init__(*args, directory=directory)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.web.requested.append(self.path)
        if self.path in self.web.redirects:
            self.send_response(302)
            self.send_header("Location", self.web.redirects[self.path])
            self.end_headers()
        else:
            super().do_GET()


@contextmanager
def web_server(folder: Path) -> Iterator[WebServer]:
    """Start a web server on loopback for a folder."""
    folder.mkdir(exist_ok=True)
    web: list[WebServer] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, web=web, directory=str(folder)))
    web.append(WebServer(f"127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
