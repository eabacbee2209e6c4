"""As much of the Kubernetes API as runs steps: a job's container is a process here, and waits for the GPUs it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from mufin_dagster.versioning import environment

GPU = "nvidia.com/gpu"


class Job:
    """One job: what was asked for, and its process once there is room."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.process: subprocess.Popen[bytes] | None = None
        self.began = self.ended = 0.0

    @property
    def container(self) -> dict[str, Any]:
        return self.body["spec"]["template"]["spec"]["containers"][0]

    @property
    def gpus(self) -> int:
        return int((self.container["resources"].get("limits") or {}).get(GPU, 0))

    @property
    def labels(self) -> dict[str, str]:
        return self.body["metadata"]["labels"]

    @property
    def status(self) -> dict[str, int]:
        code = self.process.poll() if self.process else None
        return {"active": 1} if code is None else {"succeeded": 1} if code == 0 else {"failed": 1}


class Api:
    """The server, for a cluster of so many GPUs that sees the project; `jobs` are all that it was given."""

    def __init__(self, folder: Path, project: Path, gpus: int) -> None:
        self.folder, self.project, self.gpus, self.jobs = folder, project, gpus, dict[str, Job]()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                parts = urlsplit(self.path)
                told = json.dumps(api.answer(self.command, parts.path, parse_qs(parts.query), body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._server.serve_forever, self._schedule)]
        for thread in self._threads:
            thread.start()

    def config(self) -> Path:
        """A kubeconfig that leads here."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "current-context": "here",
        }
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(told))
        return path

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> dict[str, Any]:
        if method == "POST":
            self.jobs[body["metadata"]["name"]] = Job(body)
            return body
        if found := re.search(r"/jobs/([^/]+)", path):
            return {**self.jobs[found[1]].body, "status": self.jobs[found[1]].status}
        return {"items": []}  # pods and events: asked for where a job failed

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def _schedule(self) -> None:
        while not self._over.wait(0.1):
            for job in list(self.jobs.values()):
                if job.process is None and job.gpus <= self.gpus - self._taken():
                    job.began = time.monotonic()
                    job.process = self._run(job)
                elif job.process and not job.ended and job.process.poll() is not None:
                    job.ended = time.monotonic()

    def _taken(self) -> int:
        return sum(job.gpus for job in self.jobs.values() if job.process and job.process.poll() is None)

    def _run(self, job: Job) -> subprocess.Popen[bytes]:
        """The container's arguments, as the image's entry point has them."""
        own = {one["name"]: one["value"] for one in job.container.get("env") or [] if "value" in one}
        with (self.folder / "pods.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "mufin_dagster.instance", *job.container["args"]],
                env={**environment(self.project), **own},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
