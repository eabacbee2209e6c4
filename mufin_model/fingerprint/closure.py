"""The code that a stage can run: its modules by imports, each with a hash of what it does.

    closure(("mufin_model.retrieval.mine",), folder).modules   # {"mufin_model/retrieval/mine.py": "0c1e...", ...}

Found in the source, nothing is imported: imports within functions count, those under TYPE_CHECKING do not. Comments,
docstrings and layout are no part of a hash, and it is the same under every Python that the library supports.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PACKAGES = ("mufin_model", "mufin_dagster")
"""Whose modules are followed; of all others only the name is kept."""
DIGITS = 12


@dataclass(frozen=True)
class Closure:
    """`modules`: path below the library's folder, and hash. `imports`: top-level names of other packages."""

    modules: dict[str, str]
    imports: frozenset[str]


@dataclass(frozen=True)
class _Source:
    """One file. `dynamic`: packages of which a module is imported by a name made at run time."""

    hash: str
    imports: tuple[str, ...]
    dynamic: tuple[str, ...]
    strings: frozenset[str]


def closure(entries: Sequence[str], folder: Path) -> Closure:
    """All that can be imported from some modules on.

    A file that a module names (`report.html.j2`) and that lies beside it counts by its bytes.

    Args:
        entries: dotted names; one that is not there is passed over.
        folder: that holds the packages.
    """
    found: dict[str, str] = {}
    others: set[str] = set()
    waiting = list(entries)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.partition(".")[0] not in PACKAGES:
            others.add(name.partition(".")[0])
            continue
        waiting += _parents(name)
        path = _file(name, folder)
        if path is None:
            continue  # a name within a module, not a module
        source = _source(path, name)
        found[path.relative_to(folder).as_posix()] = source.hash
        waiting += source.imports
        for package in source.dynamic:
            waiting += _members(package, source.strings, folder)
        for beside in _named_files(path, source.strings):
            found[beside.relative_to(folder).as_posix()] = _digest(beside.read_bytes())
    return Closure(dict(sorted(found.items())), frozenset(others))


def code_hash(source: str | bytes) -> str:
    """Of a module's meaning: its syntax tree without positions, and without strings that stand alone."""
    return _digest("\n".join(_told(ast.parse(source))).encode())


def _told(node: ast.AST) -> Iterator[str]:
    """The tree as lines. Not `ast.dump`, whose words change with Python; fields without a value are left out."""
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        several = isinstance(value, list)
        for part in value if several else [value]:
            # None in a list has a meaning: an argument without a default, `**` in a dict
            if (part is None and not several) or name == "kind" or _docstring(part) or _empty_piece(node, part):
                continue
            yield f".{name}"
            if isinstance(part, ast.AST):
                yield from _told(part)
            else:
                yield repr(part)
    yield ";"


def _docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _empty_piece(node: ast.AST, part: object) -> bool:
    """Of an f-string; some releases of Python 3.12 put one beside each value."""
    return isinstance(node, ast.JoinedStr) and isinstance(part, ast.Constant) and part.value == ""


def _source(path: Path, name: str) -> _Source:
    stat = path.stat()
    return _parsed(path, name, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _parsed(path: Path, name: str, mtime: int, size: int) -> _Source:
    """A file's content as it was at `mtime` with `size`; by its bytes alone while it is no Python."""
    content = path.read_bytes()
    try:
        tree = ast.parse(content, str(path))
    except (SyntaxError, ValueError):
        return _Source(_digest(content), (), (), frozenset())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports: list[str] = []
    dynamic: list[str] = []
    for node in _run_time(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            imports += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and _callee(node) == "import_module":
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                imports.append(str(argument.value))
            else:
                dynamic.append(_prefix(argument, name) or package)
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return _Source(code_hash(content), tuple(imports), tuple(dynamic), frozenset(strings))


def _run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that a type checker alone sees."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and getattr(child.test, "id", getattr(child.test, "attr", "")) == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _run_time(other)
        else:
            yield from _run_time(child)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that `from X import` names, its leading dots resolved."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - (node.level - 1)]
    return ".".join([*base, node.module] if node.module else base)


def _callee(node: ast.Call) -> str:
    return str(getattr(node.func, "attr", getattr(node.func, "id", "")))


def _prefix(argument: ast.expr, name: str) -> str:
    """The package in f"{__name__}.{other}" or f"package.{other}"; empty where it is made otherwise."""
    if not isinstance(argument, ast.JoinedStr):
        return ""
    first = argument.values[0]
    if isinstance(first, ast.FormattedValue) and isinstance(first.value, ast.Name) and first.value.id == "__name__":
        return name
    return str(first.value).rstrip(".") if isinstance(first, ast.Constant) else ""


def _members(package: str, strings: frozenset[str], folder: Path) -> list[str]:
    """The modules of a package that strings name, else all of them."""
    place = folder.joinpath(*package.split("."))
    there = {path.stem for path in place.glob("*.py")} | {path.parent.name for path in place.glob("*/__init__.py")}
    there.discard("__init__")
    return [f"{package}.{name}" for name in (there & strings or there)]


def _named_files(path: Path, strings: frozenset[str]) -> list[Path]:
    """Files beside a module that it names."""
    named = [text for text in strings if "." in text.strip(".") and len(text) < 100 and "/" not in text]
    return [path.parent / text for text in named if not text.endswith(".py") and (path.parent / text).is_file()]


def _file(name: str, folder: Path) -> Path | None:
    place = folder.joinpath(*name.split("."))
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if path.is_file():
            return path
    return None


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
