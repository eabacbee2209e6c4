"""`mufin serve`: the current release over HTTP, on the standard library alone.

    POST /predict   {"items": [{"text": "red wool scarf", "images": ["<base64 of a JPEG, PNG ...>"]}], "k": 5}
                    -> {"release": "1f0c...", "items": [[{"label": "x17", "text": "Scarves", "score": 2.1}, ...], ...]}
    GET /health     what is served; `trouble` says why its successor does not load
    GET /release    its figures and provenance, and the verdict by which it was put in front

A promotion or a rollback is seen within WATCH_SECONDS: the next release is loaded beside the present one, then one
assignment switches. A request keeps the release it began with, so none is dropped, and each answer names its release.
Images come in the request: nothing that a client sends is opened as a path or fetched as an address.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mufin_model.errors import ArtefactError, MufinError, RequestError
from mufin_model.progress import say
from mufin_model.release.model import Answer, Model, threads
from mufin_model.release.queries import Query
from mufin_model.release.requests import MAX_BODY, parse
from mufin_model.release.shelf import Shelf

WATCH_SECONDS = 0.5
RETRY_SECONDS = 60.0
"""Until a release that did not load is tried again: a disk or a network that failed may be back."""
IDLE_SECONDS = 15.0
"""A connection that says nothing for so long is closed."""
LAST_SECONDS = 20.0
"""For the requests under way when the server ends."""


class Serving:
    """The release in front, watched for its successor.

    Raises:
        ArtefactError: there is no release, or it does not load.
    """

    def __init__(self, shelf: Shelf) -> None:
        self.shelf, self.trouble = shelf, ""
        self.front = self._load()

    def watch(self, ended: threading.Event) -> None:
        """Take up each new release, until the event is set."""
        failed, again = None, 0.0
        while not ended.wait(WATCH_SECONDS):
            try:
                now = self.shelf.current()
                if now is None or now.name == self.front[0]:
                    failed, self.trouble = None, ""
                elif now.name != failed or time.monotonic() >= again:
                    failed, again = now.name, time.monotonic() + RETRY_SECONDS
                    self.front = self._load()
                    say(f"serving {self.front[0]}")
            except Exception as error:  # whatever it is, what is served stays served
                self.trouble = str(error)
                say(f"still serving {self.front[0]}: {error}")

    def predict(self, body: bytes) -> dict[str, Any]:
        """What POST /predict answers.

        Raises:
            RequestError: the request is not as it should be.
        """
        name, model = self.front  # one of them for the whole request
        queries, k, unseen = parse(body, model.encoder.size if model.encoder.sees_pictures else None)
        told: dict[str, Any] = {"release": name, "items": _listed(model(queries, k))}
        if unseen:
            told["zero_shot"] = _listed(model.zero_shot(queries, k))
        return told

    def health(self) -> dict[str, Any]:
        """What GET /health answers."""
        return {"status": "ok", "release": self.front[0], "dataset": self.shelf.dataset, "trouble": self.trouble}

    def release(self) -> dict[str, Any]:
        """What GET /release answers."""
        name, model = self.front
        told = {key: value for key, value in model.manifest.items() if key != "files"}
        decided = [one for one in self.shelf.records() if one["release"] == name and one["decision"] != "refused"]
        return {**told, "release": name, "decided": decided[-1] if decided else None}

    def _load(self) -> tuple[str, Model]:
        now = self.shelf.current()
        if now is None:
            raise ArtefactError(
                f"nothing of {self.shelf.dataset} is released yet",
                where=str(self.shelf.folder),
                mend=f"mufin release --dataset {self.shelf.dataset}",
            )
        model = Model(now.folder)
        model([Query("the first answer is the slowest")], 1)
        return now.name, model


class Server(ThreadingHTTPServer):
    """A thread a connection; requests under way are answered before it ends."""

    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def __init__(self, serving: Serving, host: str, port: int) -> None:
        self.serving = serving
        self.ended = threading.Event()
        self._busy, self._idle = 0, threading.Condition()
        super().__init__((host, port), Handler)

    def run(self) -> None:
        """Answer until `end` is called from another thread."""
        watcher = threading.Thread(target=self.serving.watch, args=(self.ended,), name="watch", daemon=True)
        watcher.start()
        with self, threads(1):
            self.serve_forever(poll_interval=0.1)
            with self._idle:
                self._idle.wait_for(lambda: not self._busy, LAST_SECONDS)
        watcher.join(WATCH_SECONDS)

    def end(self) -> None:
        """Take no new connection; answer what is under way."""
        self.ended.set()
        self.shutdown()

    def __enter__(self) -> Server:
        return self

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """A request, waited for when the server ends."""
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()


class Handler(BaseHTTPRequestHandler):
    """One connection's requests."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mufin", ""
    timeout = IDLE_SECONDS
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        with self.server.under_way():
            self._get()
            self.wfile.flush()

    def do_POST(self) -> None:
        with self.server.under_way():
            self._post()
            self.wfile.flush()

    def _get(self) -> None:
        told = {"/health": self.server.serving.health, "/release": self.server.serving.release}.get(self.path)
        if told is None:
            self._unknown()
        else:
            self._answer(told)

    def _post(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/predict":
            self.close_connection = True  # its body is not read
            self._unknown()
        elif self.headers.get_content_type() != "application/json":
            # a page in somebody's browser cannot send this kind to a loopback address unasked
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type is to be application/json")
        elif not (length.isascii() and length.isdigit() and len(length) < 12) or int(length) > MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Content-Length is to be {MAX_BODY:,} bytes at most")
        else:
            body = self.rfile.read(int(length))
            self._answer(lambda: self.server.serving.predict(body))

    def _answer(self, made: Callable[[], dict[str, Any]]) -> None:
        try:
            told, status = made(), HTTPStatus.OK
        except RequestError as error:
            told, status = _told(error), HTTPStatus.BAD_REQUEST
        except Exception as error:  # a client learns that, not what
            say(f"{self.path}: {type(error).__name__}: {error}")
            told = _told(MufinError("the server failed at it", mend="its log says more"))
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        self._send(status, told)

    def _unknown(self) -> None:
        ways = "POST /predict, GET /health, GET /release"
        self._send(HTTPStatus.NOT_FOUND, _told(RequestError("nothing is here", where=self.path, mend=ways)))

    def _refuse(self, status: HTTPStatus, what: str) -> None:
        self.close_connection = True
        self._send(status, _told(RequestError(what)))

    def _send(self, status: HTTPStatus, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection or self.server.ended.is_set():
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: what people ask for is theirs."""


def _told(error: MufinError) -> dict[str, Any]:
    kind = type(error).__name__
    return {"error": {"kind": kind, "what": error.what, "where": error.where, "mend": error.mend}}


def serve(shelf: Shelf, host: str, port: int) -> None:
    """Serve a dataset's current release until SIGTERM or Ctrl-C.

    Raises:
        ArtefactError: there is no release, or it does not load.
        RequestError: the address is not to be had.
    """
    serving = Serving(shelf)
    try:
        server = Server(serving, host, port)
    except OSError as error:
        raise RequestError(f"cannot listen on {host}:{port}: {error.strerror}", mend="choose another --port") from error
    for number in (signal.SIGTERM, signal.SIGINT):
        # from another thread: shutdown waits for the loop that this signal interrupts
        signal.signal(number, lambda *_: threading.Thread(target=server.end).start())
    say(f"serving {serving.front[0]} of {shelf.dataset} on http://{host}:{server.server_address[1]}")
    server.run()


def _listed(answers: list[list[Answer]]) -> list[list[dict[str, Any]]]:
    return [[asdict(one) for one in row] for row in answers]
