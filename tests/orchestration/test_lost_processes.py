"""Processes killed (SIGKILL) in the midst of a run, under a real daemon: the run ends well all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import dagster as dg
import psutil
import pytest
import yaml

from mufin_dagster import home, versioning

from .conftest import COMMON, STEPS, Project

WORDS = (
    COMMON
    + """
with open("ran", "a") as ran:
    ran.write(f"{os.getpid()}\\n")
text = (workspace.path(dataset, "letters") / "letters.txt").read_text()
with workspace.write(dataset, "words") as folder:
    (folder / "half.txt").write_text(text)
    while Path("wait").exists():
        time.sleep(0.1)
    os.rename(folder / "half.txt", folder / "words.txt")
"""
)
"""Says that it runs, then waits half done while there is a file `wait`."""


class Daemon:
    """The daemon of a project, and the processes that come of it."""

    def __init__(self, project: Project) -> None:
        self.project, self.env = project, home.prepare(project.workspace)
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        with (self.project.root / "daemon.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
                cwd=self.project.root,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def launch(self) -> None:
        """Queue a run of all assets."""
        command = [sys.executable, "-m", "dagster", "job", "launch", "-w", "workspace.yaml", "-j", "retrain"]
        told = subprocess.run(command, cwd=self.project.root, env=self.env, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr[-3000:]

    def everything(self) -> list[psutil.Process]:
        """All processes of the project."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("MUFIN_ROOT") == str(self.project.root) and process.pid != os.getpid():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def words(self) -> list[psutil.Process]:
        """The command under way, and its step, the fork server and the run above it."""
        pid = int((self.project.root / "ran").read_text().split()[-1])
        above = [psutil.Process(pid), *psutil.Process(pid).parents()]
        at = next(place for place, one in enumerate(above) if "forkserver" in " ".join(one.cmdline()))
        return [above[0], *above[at : at + 3]]

    def power_off(self) -> None:
        """Kill all at one moment: else what waits for one killed before it would go on."""
        everything = self.everything()
        for end in (psutil.Process.suspend, psutil.Process.kill):
            for process in everything:
                with suppress(psutil.Error):
                    end(process)
        self.process.wait()


@pytest.fixture
def daemon(project: Project) -> Iterator[Daemon]:
    """Running on a project of one dataset whose words wait."""
    text = (project.root / "params.yaml").read_text()
    told = yaml.safe_load(text)
    told["datasets"], told["automation"]["retry_delay"] = ["one"], 1
    (project.root / "params.yaml").write_text(yaml.safe_dump(told))
    quick = (project.root / "dagster.yaml").read_text().replace("poll_interval_seconds: 30", "poll_interval_seconds: 2")
    (project.root / "dagster.yaml").write_text(quick)
    (project.root / "steps" / "words.py").write_text(WORDS)
    (project.root / "data" / "one" / "catalog" / "text.txt").write_text("another text")
    (project.root / "wait").touch()
    made = Daemon(project)
    yield made
    made.power_off()


def until(holds: Callable[[], object], daemon: Daemon) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline, (daemon.project.root / "daemon.log").read_text()[-6000:]
        time.sleep(0.3)


@pytest.mark.timeout(1800)
def test_a_run_ends_well_whatever_is_killed(daemon: Daemon) -> None:
    project, ran = daemon.project, daemon.project.root / "ran"
    before = (project.root / "data/one/words/words.txt").read_text()
    daemon.launch()
    with dg.DagsterInstance.from_config(daemon.env["DAGSTER_HOME"]) as instance:

        def runs() -> list[str]:
            return [run.status.value for run in reversed(instance.get_runs())]

        def times() -> int:
            return len(ran.read_text().split()) if ran.is_file() else 0

        # the step: it is tried again within its run, once its command has gone
        until(lambda: times() == 1, daemon)
        command, step, *_ = daemon.words()
        step.kill()
        until(lambda: times() == 2, daemon)
        assert not command.is_running() or command.status() == psutil.STATUS_ZOMBIE
        assert runs() == ["STARTED"]

        # the daemon: the run goes on, and the next daemon, which looks at it again and again, does not call it lost
        command, _, _, run = daemon.words()
        daemon.process.kill()
        daemon.process.wait()
        looked = (project.root / "daemon.log").read_text().count("runs for monitoring")
        daemon.start()
        until(lambda: (project.root / "daemon.log").read_text().count("runs for monitoring") > looked + 5, daemon)
        assert runs() == ["STARTED"]
        assert command.is_running()

        # the run: another goes on, from the step under way, whose process has lived on and is waited for
        run.kill()
        until(lambda: runs() == ["FAILURE", "STARTED"], daemon)
        assert command.is_running()

        # the machine: another run goes on once it is back
        daemon.power_off()
        daemon.start()
        until(lambda: times() == 3, daemon)
        assert runs() == ["FAILURE", "FAILURE", "STARTED"]
        assert (project.root / "data/one/words/words.txt").read_text() == before
        (project.root / "wait").unlink()
        until(lambda: runs() == ["FAILURE", "FAILURE", "SUCCESS"], daemon)
        letters = instance.get_latest_materialization_event(dg.AssetKey(["one", "letters"]))
        assert letters.run_id == instance.get_runs()[-1].run_id  # made once, by the first
    assert "ANOTHER TEXT" in (project.root / "data/one/report/report.html").read_text()
    assert not versioning.status(project.root, *(f"{noun}@one" for noun in STEPS))
    assert not [path.name for path in (project.root / "data/one").glob(".*.*-*")]


def test_two_runs_of_one_asset_at_once(project: Project) -> None:
    (project.root / "steps" / "words.py").write_text(WORDS.replace('Path("wait").exists()', "time.sleep(2)"))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: project.mufin("materialize", "words", "-d", "one"), range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stdout + one.stderr for one in done]
    assert len((project.root / "ran").read_text().split()) == 1  # the later one found it made
    assert not versioning.status(project.root, "words@one")


def test_an_input_that_changes_meanwhile_is_read_again(project: Project, instance: dg.DagsterInstance) -> None:
    """As when a drop is taken in while a run reads the earlier catalogue."""
    project.setting("  retry_delay: 30 ", "  retry_delay: 1 ")
    text = project.root / "data" / "one" / "catalog" / "text.txt"
    text.write_text("the second")
    step = project.root / "steps" / "letters.py"
    late = 'if text == "the second": (workspace.catalog(dataset) / "text.txt").write_text("the third")\n'
    step.write_text(STEPS["letters"] + late)
    done = project.materialize(instance, "one/letters")
    assert done.success
    assert len([event for event in done.all_events if event.is_step_restarted]) == 1
    assert (project.root / "data/one/letters/letters.txt").read_text().startswith("THE THIRD")
    assert not versioning.status(project.root, "letters@one")
    told = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert [line for line in told if "data/one/catalog changed while letters ran" in line]


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_clock_that_is_wrong_misleads_nobody(project: Project, instance: dg.DagsterInstance, hours: int) -> None:
    """Files as a worker leaves them whose clock is behind or ahead: newer ones may look older."""
    skewed = f'os.utime(workspace.path(dataset, "letters") / "letters.txt", (time.time() + {3600 * hours},) * 2)\n'
    step = project.root / "steps" / "letters.py"
    step.write_text(STEPS["letters"] + skewed)
    assert project.materialize(instance, "one/letters", "one/words").success
    assert not versioning.status(project.root, "letters@one", "words@one")
    # other bytes, as many, made on a machine whose clock is right
    (project.root / "data" / "one" / "catalog" / "text.txt").write_text("THE TEXT OF ONE"[::-1].lower())
    step.write_text(STEPS["letters"])
    assert project.materialize(instance, "one/letters").success
    assert list(versioning.status(project.root, "letters@one", "words@one")) == ["words@one"]
    assert project.materialize(instance, "one/words").success
    assert "ENO FO TXET" in (project.root / "data/one/words/words.txt").read_text()
