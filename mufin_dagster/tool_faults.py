"""Why git and DVC refused a command: each cause with its own hint, in our words.

Their own text is in a shell a command away; it differs from version to version, and names options nobody asked for.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

CLEAR = {"LC_ALL": "C", "LANGUAGE": ""}
"""Environment in which git writes English, which is what is recognised here."""


@dataclass(frozen=True)
class Cause:
    """One cause: what of the text shows it, the fault in a clause, and the hint; {root} is the project's folder."""

    sign: str
    what: str
    hint: str


NO_GIT = Cause("", "git is not installed, or not on PATH", "install git (apt install git, brew install git)")
SHALLOW = Cause("", "this is a shallow clone, which lacks older commits", "git fetch --unshallow")

CAUSES = (
    Cause(
        r"tell me who you are|auto-detect email|empty ident|user\.(name|email)",
        "git does not know who commits",
        'git config --global user.name "YOUR NAME" && git config --global user.email YOU@EXAMPLE.COM',
    ),
    Cause(
        r"dubious ownership|safe\.directory|unsafe repository",
        "the project's folder belongs to another user, so git does not trust it",
        "git config --global --add safe.directory {root}",
    ),
    Cause(
        r"not a git repository|not in a git|no SCM",
        "the project is in no git repository",
        'cd {root} && git init && git add . && git commit -m "start"',
    ),
    Cause(
        r"not inside of a DVC|is not a dvc repo|No such file or directory: .*\.dvc.?$",
        "the project has no DVC",
        "cd {root} && dvc init",
    ),
    Cause(r"No module named '?dvc", "DVC is not installed", "install the project again: pip install -e ."),
    Cause(
        r"does not have any commits|ambiguous argument 'HEAD'|bad revision 'HEAD'|[Nn]ot a valid object name:? '?HEAD",
        "there is no commit yet",
        'mufin data commit -m "start"',
    ),
    Cause(
        r"index\.lock|another git process",
        "another git is at work here",
        "wait for it; where none runs, remove {root}/.git/index.lock",
    ),
    Cause(
        r"unable to acquire lock|rwlock|is busy|lock is held",
        "another DVC is at work here",
        "wait for it and run the same command again",
    ),
    Cause(
        r"unmerged|MERGE_HEAD|conflict",
        "a merge is not finished",
        "git status names the files: resolve and commit them",
    ),
    Cause(
        r"[Rr]ead-only file system",
        "the project lies on a disk that is read-only",
        "work in a folder that can be written to",
    ),
    Cause(
        r"[Pp]ermission denied|insufficient permission|EACCES",
        "this user may not write in the project",
        "ls -l {root} shows whose the files are",
    ),
    Cause(
        r"missing-files|missing files|does not exist in cache|missing cache|Checkout failed",
        "files of the version are neither here nor in the cache",
        "dvc pull fetches them, where a remote has them",
    ),
    Cause(
        r"failed to transfer|failed to pu|Unable to connect|[Cc]ould not resolve|[Cc]onnection|remote storage|403|401",
        "the remote does not answer, or refuses",
        "dvc remote list shows its address; look at the network and its credentials",
    ),
    Cause(r"pathspec|did not match any file", "a file that is to be recorded is not there", "git status shows what is"),
    Cause(r"hook", "a hook of this repository refused it", "look at what .git/hooks and pre-commit ask for"),
)


def cause(root: Path, text: str) -> Cause | None:
    """Why git or DVC failed in the project; None where their text shows nothing known."""
    if shutil.which("git") is None:
        return NO_GIT
    for known in CAUSES:
        if re.search(known.sign, text):
            return Cause(known.sign, known.what, known.hint.format(root=root))
    return None


def is_shallow(root: Path) -> bool:
    """Whether the project is a clone without its older commits."""
    return any(os.path.exists(folder / ".git" / "shallow") for folder in (root, *root.parents))
