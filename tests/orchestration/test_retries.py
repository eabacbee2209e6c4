"""What is tried again, and what is not."""

from __future__ import annotations

import errno
import pickle

import dagster as dg
import pytest

from mufin_dagster import memory, retries
from mufin_dagster.process import Ended
from mufin_dagster.settings import Automation
from mufin_dagster.versioning import VersioningError
from mufin_model.errors import ArtefactError, CatalogError, DiskError, SeveralErrors

from .conftest import Project


@pytest.mark.parametrize(
    ("ended", "again"),
    [
        (Ended(-9, "epoch 3", None), True),
        (Ended(137, "epoch 3", None), True),
        (Ended(1, "Traceback\nurllib3: Temporary failure in name resolution", None), True),
        (Ended(1, "Traceback\nValueError: broken on purpose", None), False),
        (Ended(1, "warning: read timed out\n" + "epoch\n" * 20 + "ValueError: a bug", None), False),
        (Ended(1, "Traceback\ntorch.OutOfMemoryError: CUDA out of memory.", None, "GPU"), True),
        (Ended(137, "epoch 3", None, "machine"), True),
        (Ended(137, "epoch 3", None, "limit"), False),
        (Ended(1, "MemoryError: Unable to allocate 745. GiB", None, "refused"), False),
        (Ended(75, "ArtefactError: cannot read it", "ArtefactError: cannot read it"), True),
        (Ended(2, "CatalogError: a digit", "CatalogError: a digit"), False),
        (Ended(2, "CatalogError: a text says ConnectionError", "CatalogError: a text says ConnectionError"), False),
    ],
)
def test_what_may_pass_by_itself_is_tried_again(ended: Ended, again: bool):
    assert retries.ended("mufin pretrain", ended).allow_retries is again


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (VersioningError("dvc pull failed", where="dvc pull", rows=["ERROR: Could not connect to s3"], mend="x"), True),
        (VersioningError("dvc commit failed", where="dvc", rows=["ERROR: no such stage"], mend="x"), False),
        (CatalogError("a digit", where="text.txt", rows=["ConnectionError"], mend="take it out"), False),
        (DiskError("no room", where="/", mend="free some"), False),
    ],
)
def test_of_users_mistakes_only_the_networks_are(error, again):
    assert retries.may_pass(error) is again


@pytest.mark.parametrize(
    ("code", "tail", "now", "what"),
    [
        (-9, "epoch 3", (0, 0, 0), None),
        (137, "epoch 3", (1, 1, 1), "limit"),
        (-9, "epoch 3", (0, 1, 1), "machine"),
        (-9, "epoch 3", (0, 0, 1), "machine"),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", (0, 0, 0), "GPU"),
        (1, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 745. GiB", (0, 0, 0), "refused"),
        (1, "ValueError: a bug", (0, 0, 1), None),
        (0, "MemoryError was caught", (1, 1, 1), None),
    ],
)
def test_out_of_memory_is_told_apart_from_a_lost_machine(code, tail, now, what):
    assert memory.ran_out(code, tail, memory.Kills(0, 0, 0), memory.Kills(*now)) == what
    told = retries.ended("mufin pretrain", Ended(code, tail, None, what)).description if code else ""
    assert ("out of memory:" in told) is (what is not None)
    assert ("batch_size" in told) is (what is not None)


def test_a_typed_error_passes_where_what_caused_it_does():
    def of(cause: OSError) -> ArtefactError:
        try:
            raise ArtefactError("cannot read it", where="a.json") from cause
        except ArtefactError as error:
            return error

    assert of(OSError(errno.ESTALE, "Stale file handle")).may_pass
    assert of(TimeoutError("the remote")).may_pass
    assert pickle.loads(pickle.dumps(of(ConnectionResetError()))).may_pass
    assert not of(FileNotFoundError(errno.ENOENT, "no such file")).may_pass
    assert not SeveralErrors([of(TimeoutError()), CatalogError("a digit")]).may_pass
    assert retries.may_pass(of(OSError(errno.EIO, "Input/output error")))


def test_delays_double():
    policy = retries.policy(Automation(retries=3, retry_delay=10))
    delays = [policy.calculate_delay(attempt) for attempt in (1, 2, 3)]
    for delay, expected in zip(delays, (10, 30, 70), strict=True):  # Dagster's exponential: (2^n - 1) times, jittered
        assert 0 <= delay <= expected + 10
    assert policy.max_retries == 3
    assert retries.policy(Automation(retries=0)) is None


def test_a_killed_step_runs_again_and_a_broken_catalogue_does_not(project: Project, instance: dg.DagsterInstance):
    project.setting("  retry_delay: 30 ", "  retry_delay: 1 ")
    text = project.root / "data" / "one" / "catalog" / "text.txt"
    text.write_text("kill me once")
    done = project.materialize(instance, "one/letters")
    assert done.success
    again = [event for event in done.all_events if event.is_step_restarted]
    assert len(again) == 1
    told = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert [line for line in told if line.startswith("may pass by itself: `python steps/letters.py one` was killed")]
    text.write_text("7")
    done = project.materialize(instance, "one/letters")
    assert not done.success
    assert not [event for event in done.all_events if event.is_step_up_for_retry]
