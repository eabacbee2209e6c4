"""A copy of the project with a small demo in it, the web interface on it, and a headless browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Page, sync_playwright

from mufin_dagster.versioning import environment
from mufin_model.artefacts import Workspace

REPOSITORY = Path(__file__).parents[2]
SMALL = ["pretrain.epochs=2", "finetune.epochs=1"]
ITEMS = 120
MINUTES = 60.0


class Project:
    """The copy: its folder, its commands, its interface's address."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = Workspace(root)
        self.port = _free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The copy's own code goes before the installed one; nothing of the caller's Dagster."""
        env = environment(self.root) | {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "2"}
        for name in ("DAGSTER_HOME", "MUFIN_EXECUTOR"):
            env.pop(name, None)
        return env

    def set(self, override: str) -> None:
        """Write one setting of the demo into params.yaml, by the copy's own code."""
        code = (
            "import sys; from pathlib import Path; from mufin_dagster import params; "
            "from mufin_model.artefacts import Workspace; "
            "sys.exit(not params.override(Workspace(Path.cwd()), 'demo', sys.argv[1:]))"
        )
        subprocess.run([sys.executable, "-c", code, override], cwd=self.root, env=self.environment, check=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The demo, every stage done: some minutes on two cores."""
    root = tmp_path_factory.mktemp("project")
    _copy(root)
    project = Project(root)
    for override in SMALL:
        project.set(override)
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=root, check=True)
    log = root / "demo.log"
    with log.open("w") as output:
        done = _start([_mufin(), "demo", "--items", str(ITEMS)], project, output)
        try:
            code = done.wait(20 * MINUTES)
        finally:
            _end(done)
    assert code == 0, log.read_text()[-4000:]
    return project


@pytest.fixture(scope="module")
def ui(project: Project) -> Iterator[Project]:
    """The project with its web interface up; all its processes are gone afterwards."""
    log = project.root / "ui.log"
    with log.open("w") as output:
        server = _start([_mufin(), "ui", "--port", str(project.port)], project, output)
        try:
            deadline = time.monotonic() + 5 * MINUTES
            while not _answers(project.url):
                assert server.poll() is None, log.read_text()[-4000:]
                assert time.monotonic() < deadline, log.read_text()[-4000:]
                time.sleep(1)
            yield project
        finally:
            _end(server)


@pytest.fixture
def page(ui: Project, tmp_path: Path) -> Iterator[Page]:
    """A page that may speak to this machine alone; its last state is kept as last.png."""
    asked: list[str] = []
    system = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
    with sync_playwright() as playwright:
        if system is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium: playwright install chromium")
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(3 * MINUTES * 1000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        yield page
        page.screenshot(path=tmp_path / "last.png")
        browser.close()
    here = (f"{ui.url}/", f"ws://127.0.0.1:{ui.port}/", "data:", "blob:", "about:")
    assert asked
    assert [url for url in asked if not url.startswith(here)] == []


def _copy(root: Path) -> None:
    """What git would track here, or in a folder without git all but what is made."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=REPOSITORY, capture_output=True, check=True
        )
        files = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        made = {".venv", "data", ".dagster_home", ".git", "__pycache__"}
        found = [path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*") if path.is_file()]
        files = [path for path in found if not made & set(path.parts)]
    for file in files:
        # what DVC recorded and made elsewhere is not the copy's
        if file.parts[0] != "data" and file.name != "dvc.lock" and (REPOSITORY / file).is_file():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / file, root / file)


def _mufin() -> str:
    return str(Path(sys.executable).with_name("mufin"))


def _start(command: list[str], project: Project, output: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        stdout=output,  # type: ignore[call-overload]
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # a shell may have started the tests with SIGINT ignored, which children inherit
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C to the whole group, then SIGKILL to what is left of it."""
    for number, seconds in ((signal.SIGINT, 30.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
