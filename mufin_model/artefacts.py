"""Where artefacts lie, and how they are written: aside first, then swapped in by one rename.

`data/<dataset>/<noun>/` holds what each stage leaves (DVC versions it); `data/<dataset>/.state/` holds
what only this machine needs: checkpoints of a stage under way and the seconds each stage took.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mufin_model import owners
from mufin_model.errors import SYSTEM, ArtefactError, DiskError, MufinError, in_words
from mufin_model.progress import say

CATALOG = "catalog"
"""The folder of a dataset that its owner writes, in the generic catalogue format."""

PARAMS = "MUFIN_PARAMS"
"""Environment variable: a run's own copy of params.yaml, relative to the project."""

NOUNS: dict[str, str] = {
    "ingest": "raw_descriptors",
    "encode": "encoder_embeddings",
    "pretrain": "pretrained_model",
    "index": "anns_index",
    "mine": "mined_negatives",
    "finetune": "finetuned_classifiers",
    "predict": "predictions",
    "evaluate": "eval_report",
    "release": "released_model",
}
"""Each stage's verb and the noun it leaves, in the order in which data flows."""

VERBS: dict[str, str] = {noun: verb for verb, noun in NOUNS.items()}


@dataclass(frozen=True)
class Workspace:
    """The project's folder: params.yaml, dvc.yaml and `data/`."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Workspace:
        """The folder named by MUFIN_ROOT, or the nearest one upwards that holds params.yaml.

        Raises:
            ArtefactError: no such folder.
        """
        if named := os.environ.get("MUFIN_ROOT"):
            return cls(Path(named).resolve())
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "params.yaml").is_file():
                return cls(folder)
        raise ArtefactError(
            "no params.yaml here or above", where=str(here), mend="run mufin inside the project, or set MUFIN_ROOT"
        )

    @property
    def params(self) -> Path:
        """params.yaml, or within a run the settings as the run found them (the variable PARAMS)."""
        return self.root / os.environ.get(PARAMS, "params.yaml")

    def dataset(self, dataset: str) -> Path:
        return self.root / "data" / dataset

    def catalog(self, dataset: str) -> Path:
        return self.dataset(dataset) / CATALOG

    def path(self, dataset: str, noun: str) -> Path:
        """Where the artefact lies, whether or not it exists."""
        return self.dataset(dataset) / noun

    def read(self, dataset: str, noun: str) -> Path:
        """The folder of an artefact that must exist.

        Raises:
            ArtefactError: it does not; the mend names the command that makes it.
        """
        path = self.path(dataset, noun)
        if not path.is_dir():
            raise ArtefactError(
                f"{noun} of {dataset} does not exist yet",
                where=str(path),
                mend=f"mufin {VERBS[noun]} --dataset {dataset}",
            )
        return path

    def state(self, dataset: str, noun: str) -> Path:
        """A folder for the checkpoints of one stage; emptied when its artefact is complete."""
        folder = self.dataset(dataset) / ".state" / noun
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def write(self, dataset: str, noun: str) -> Iterator[Path]:
        """A folder to fill; it replaces the artefact when the block ends without an error.

        Until then, and after an error or a kill, the earlier artefact is untouched.

        Raises:
            DiskError: there is no room for it.
        """
        final = self.path(dataset, noun)
        with aside(final.parent, noun) as folder:
            with disk(final):
                yield folder
            swap(folder, final)
        shutil.rmtree(self.dataset(dataset) / ".state" / noun, ignore_errors=True)

    def alone(self, dataset: str, noun: str) -> AbstractContextManager[None]:
        """A block in which no other process runs this stage: they would share its checkpoints."""
        return exclusive(self.dataset(dataset) / ".state" / f"{noun}.lock")

    def seconds(self, dataset: str) -> dict[str, float]:
        """Wall seconds of each stage's last complete run on this machine, by noun."""
        path = self.dataset(dataset) / ".state" / "seconds.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def took(self, dataset: str, noun: str, seconds: float) -> None:
        """Note how long a stage's run took."""
        folder = self.dataset(dataset) / ".state"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "seconds.json", self.seconds(dataset) | {noun: round(seconds, 1)})

    def usage(self, dataset: str, noun: str) -> dict[str, float]:
        """Peak memory, and the GPU's, of a stage's last complete run on this machine (mufin_model/usage.py)."""
        path = self.dataset(dataset) / ".state" / f"usage.{noun}.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def used(self, dataset: str, noun: str, figures: Mapping[str, float]) -> None:
        """Note what a stage's run used."""
        folder = self.dataset(dataset) / ".state"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"usage.{noun}.json", dict(figures))


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """A block that one process at a time may be in; others say so and wait. The lock goes with its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is at it ({path.stem}); waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def aside(parent: Path, name: str) -> Iterator[Path]:
    """An empty folder `.<name>.<token>` to fill and move away; what is left in it at the end goes.

    So does what dead processes left under such a name.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f".{name}.{owners.token()}"
    folder.mkdir()
    try:
        tidy(parent, f".{name}.", folder.stat().st_mtime)
        with owners.touched(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tidy(parent: Path, prefix: str, now: float) -> None:
    """Remove what nobody writes any more of `<prefix><token>`; `now` as in `owners.abandoned`."""
    for left in parent.glob(f"{glob.escape(prefix)}*"):
        if owners.abandoned(left, now):
            shutil.rmtree(left, ignore_errors=True)  # another process may tidy up as well


@contextmanager
def disk(target: Path) -> Iterator[None]:
    """A block that writes `target` aside; a full disk meanwhile becomes an error that says what to do.

    Raises:
        DiskError: there is no room for it.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MufinError) or not full(error):
            raise
        kept = "the earlier one is untouched" if target.exists() else "nothing of it is left behind"
        with suppress(OSError):
            kept += f"; {shutil.disk_usage(target.parent).free / 1e6:,.1f} MB are free"
        raise DiskError(
            f"no room to write {target.name}: {kept}",
            where=str(target),
            rows=[f"{name}: {SYSTEM[errno.ENOSPC]}"] if (name := getattr(error, "filename", None)) else [],
            mend="free space, or raise the quota, and run the same command again",
        ) from error


def full(error: BaseException | None) -> bool:
    """Whether an error, or one it came of, tells of a full disk, a quota or a limit on a file's size.

    Some libraries keep only the text, and some fail once more while they close the file.
    """
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    words = (*map(os.strerror, codes), "requested and")  # numpy: "1080 requested and 524 written"
    while error is not None:
        if getattr(error, "errno", None) in codes or any(word in str(error) for word in words):
            return True
        error = error.__context__
    return False


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole, beside it and then by one rename: whoever is killed meanwhile, the earlier one stays."""
    beside = path.with_name(f".{path.name}.{owners.token()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # else a machine that goes down may have the name and not the bytes
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


class _Told(dict[str, Any]):
    """An object of a JSON file that tells of a key it lacks by the name of the file."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise ArtefactError(f"it lacks {key!r}", where=str(self.path), mend="run its stage again")


def read_json(path: Path) -> Any:
    """Read JSON. Of an object, a key that it lacks is an ArtefactError too.

    Raises:
        ArtefactError: the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text())
        return _Told(content, path) if isinstance(content, dict) else content
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"cannot read it: {in_words(error)}", where=str(path), mend="run its stage again"
        ) from error


def swap(aside: Path, final: Path) -> None:
    """Put `aside` in the place of `final` so that a reader sees the old folder or the new one, never none."""
    if not final.exists():
        try:
            os.rename(aside, final)
            return
        except OSError:  # another process was first; its artefact is replaced
            if not final.exists():
                raise
    if not _exchange(aside, final):
        # No atomic exchange on this system: between two renames the artefact is missing for an instant.
        old = aside.with_name(aside.name + "0")
        os.rename(final, old)
        os.rename(aside, final)
        shutil.rmtree(old)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two names atomically (Linux renameat2 with RENAME_EXCHANGE); False where it is not to be had."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_fdcwd, exchange = -100, 2
    return renameat2(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), exchange) == 0
