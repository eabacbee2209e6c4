"""Back to an earlier version of the data, and forth again: pointers from git, files from DVC's cache or remote."""

from __future__ import annotations

from mufin_dagster import versioning
from mufin_dagster.data_objects import ensure, objects
from mufin_dagster.data_versions import SHARED, git, resolve, text_at
from mufin_dagster.pointers import committed
from mufin_dagster.versioning import VersioningError
from mufin_model.artefacts import Workspace, write_text


def restore(workspace: Workspace, rev: str) -> list[str]:
    """Put pointers and files as a commit has them; git's own state (HEAD, index) stays.

    All files are fetched and verified first; where something fails afterwards, pointers and files are put back.

    Returns:
        The pointers that changed.

    Raises:
        VersioningError: pointers or files have changes that no commit has.
        CacheError: a file of that version is damaged or nowhere.
    """
    root = workspace.root
    with versioning.exclusive(root, "restore"):
        commit = resolve(root, rev)
        _refuse_unsaved(workspace)
        ensure(workspace, commit)
        named = git(root, "ls-tree", "-r", "--name-only", commit, "--", "data/", *SHARED).splitlines()
        wanted = {path: text_at(root, commit, path) or "" for path in named if path in SHARED or path.endswith(".dvc")}
        before = {path: (root / path).read_text() for path in wanted if (root / path).is_file()}
        changed = [path for path, text in wanted.items() if before.get(path) != text]
        try:
            for path in changed:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                write_text(root / path, wanted[path])
            _checkout(workspace)
        except BaseException:
            for path in changed:
                if path in before:
                    write_text(root / path, before[path])
                else:
                    (root / path).unlink()
            _checkout(workspace)
            raise
    return changed


def _checkout(workspace: Workspace) -> None:
    """Place the files of all pointers; what the cache has not (no stage has made it yet) is left out."""
    versioning.dvc(workspace.root, "checkout", "--force", "--allow-missing")


def _refuse_unsaved(workspace: Workspace) -> None:
    """A file that DVC does not have yet would be lost by a checkout, a pointer that git has not by its writing."""
    root = workspace.root
    paths = [str(path.relative_to(root)) for path in root.glob("data/*/*.dvc")]
    told = git(root, "status", "--porcelain", "--", *SHARED, *paths).splitlines()
    # Pointers of a restored version are other than HEAD's, but some commit has them.
    unsaved = [line for line in told if not committed(root, line[3:])]
    unsaved += [f"{path}: {how}" for path, how in _modified(workspace)]
    if unsaved:
        raise VersioningError(
            "there are changes that no version holds, and this would lose them",
            where=str(root),
            rows=unsaved,
            mend='mufin data commit -m "what changed"; or `git checkout` and `dvc checkout` undo them',
        )


def _modified(workspace: Workspace) -> list[tuple[str, str]]:
    """Catalogues and artefacts on disk that differ from their pointers."""
    import json

    found = json.loads(versioning.dvc(workspace.root, "data", "status", "--json"))
    changed = found.get("uncommitted", {})
    kept = objects(workspace, None)
    return [
        (path.rstrip("/"), kind)
        for kind in ("modified", "added")
        for path in changed.get(kind, [])
        if path.rstrip("/") in kept.files or path.rstrip("/") in kept.folders
    ]
