"""Who looks on during a soak: a client of the model's server, a reader of artefacts, and who is told of failures."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mufin_model.artefacts import Workspace
from mufin_model.catalog.catalog import Catalog
from mufin_model.release.package import verify
from mufin_model.release.shelf import Shelf

from .site import DATASET, Site


class Hook:
    """A webhook's server; keeps the titles of what it is told."""

    def __init__(self) -> None:
        told: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["title"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.told = told
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


class Watch:
    """Asks and reads all the time, and counts what it got.

    Attributes:
        answers: by release; dropped: requests that got none.
        reads: artefacts and releases read whole; torn: what could not be read, a line each.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answers: Counter[str] = Counter()
        self.dropped: list[str] = []
        self.reads = 0
        self.torn: list[str] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._ask, self._read)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        body = json.dumps({"items": [{"text": "Alder vase"}], "k": 3})
        up = False
        while not self._ended.wait(1):
            connection = http.client.HTTPConnection("127.0.0.1", self.site.ports["serve"], timeout=60)
            try:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = json.loads(connection.getresponse().read())
                self.answers[str(answer["release"])] += 1
                up = True
            except (OSError, KeyError, ValueError, http.client.HTTPException) as error:
                if up:  # before its first answer the server is still starting
                    self.dropped.append(repr(error))
            finally:
                connection.close()

    def _read(self) -> None:
        workspace = self.site.workspace
        while not self._ended.wait(4):
            for read in (_release, _descriptors, _metrics):
                try:
                    self.reads += _whole(read, workspace)
                except Exception as error:
                    self.torn.append(f"{time.strftime('%H:%M:%S')} {read.__name__[1:]}: {error}")


def _whole(read: Callable[[Workspace], Path | None], workspace: Workspace) -> bool:
    """Read, and once more where it was replaced while it was read: files are opened one after another."""
    for last in (False, True):
        try:
            return read(workspace) is not None
        except Exception:
            if last:
                raise
            time.sleep(0.5)
    return False


def _release(workspace: Workspace) -> Path | None:
    now = Shelf(workspace, DATASET).current()
    if now is None:
        return None
    verify(now.folder)
    return now.folder


def _descriptors(workspace: Workspace) -> Path | None:
    path = workspace.path(DATASET, "raw_descriptors")
    if not path.is_dir():
        return None
    catalog = Catalog.load(path)
    assert len(catalog.items)
    return path


def _metrics(workspace: Workspace) -> Path | None:
    path = workspace.path(DATASET, "eval_report") / "metrics.json"
    if not path.is_file():
        return None
    json.loads(path.read_text())
    return path
