"""How a module behaves, whoever it belongs to: construction, settings, names, exceptions, docstrings, length."""

from __future__ import annotations

import ast
import fnmatch
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.laws.tree import PACKAGES, PROGRAMS, Source, called, dotted_name, read, within

LIVING = frozenset({"run", "start", "serve", "stop", "aclose", "__enter__", "__aenter__"})
WIRING = frozenset({"app", "main", "__main__"})
UNNAMES = frozenset(
    {"util", "utils", "utilities", "common", "commons", "helper", "helpers", "manager", "managers", "misc"}
)
LONGEST = 400
COUNTED = frozenset({".py", ".js", ".css", ".html"})


def construction(root: Path) -> list[str]:
    """Only the wiring makes what has a life: a class with run, start, serve, stop, an async close or a context.

    A module may make its own kind inside its functions; no module makes one while being imported. A command's own
    module in provisioning is its wiring.
    """
    sources = read(root, *PROGRAMS)
    living = {f"{source.dotted}.{node.name}": source.path for source in sources for node in classes_with_a_life(source)}
    return [found for source in sources for found in made_out_of_place(source, living)]


def classes_with_a_life(source: Source) -> Iterator[ast.ClassDef]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef):
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
            waits = {item.name for item in node.body if isinstance(item, ast.AsyncFunctionDef)}
            if (methods & LIVING or "close" in waits) and not any(
                dotted_name(base).endswith("Protocol") for base in node.bases
            ):
                yield node


def made_out_of_place(source: Source, living: dict[str, str]) -> Iterator[str]:
    names = known_names(source, living)
    at_import = {id(node) for node in calls_at_import(source.tree)}
    for node in source.calls():
        home = names.get(called(node))
        if home is None:
            continue
        if id(node) in at_import:
            yield source.at(node.lineno, f"makes a {called(node)} while being imported")
        elif home != source.path and not is_wiring(source):
            yield source.at(node.lineno, f"makes a {called(node)}; it is to be given one by app.py or main.py")


def known_names(source: Source, living: dict[str, str]) -> dict[str, str]:
    """As this module writes them: its own classes with a life, and those it imports, each with its home's path."""
    names = {full.rsplit(".", 1)[1]: home for full, home in living.items() if home == source.path}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                base = f"{node.module}." if isinstance(node, ast.ImportFrom) and node.module else ""
                full, written = base + alias.name, alias.asname or alias.name
                names |= {written: living[full]} if full in living else {}
                names |= {
                    f"{written}.{one.rsplit('.', 1)[1]}": home
                    for one, home in living.items()
                    if one.rsplit(".", 1)[0] == full
                }
    return names


def calls_at_import(tree: ast.Module) -> Iterator[ast.Call]:
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


def is_wiring(source: Source) -> bool:
    commands = source.package == "provisioning" and f"{source.name}_app" in source.text
    return source.name in WIRING or commands


def environment(root: Path) -> list[str]:
    """Only settings.py reads the environment and files of configuration."""
    return [
        source.at(line, f"reads {what}; only settings.py does")
        for source in read(root, *PACKAGES)
        if source.name != "settings"
        for line, what in outside_settings(source)
    ]


def outside_settings(source: Source) -> Iterator[tuple[int, str]]:
    for line, module in source.imports():
        if within(module, "os.environ", "os.environb", "os.getenv", "tomllib", "configparser", "dotenv"):
            yield line, module
        if within(module, "pydantic_settings.BaseSettings"):
            yield line, module
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and dotted_name(node) in {"os.environ", "os.environb", "os.getenv"}:
            yield node.lineno, dotted_name(node)


def names(root: Path) -> list[str]:
    """No module and no folder is called util, common, helpers, manager: a name says what is in it."""
    return [
        source.at(1, "a name that says nothing about what is inside")
        for source in read(root, *PACKAGES)
        if UNNAMES & set(source.path.removesuffix(".py").split("/"))
    ]


def broad_except(root: Path) -> list[str]:
    """A handler for every exception stands only in a supervisor, which logs the traceback and restarts.

    One that undoes something and raises the same again swallows nothing, and may stand anywhere.
    """
    return [
        source.at(line, "catches every exception; only a supervisor may")
        for source in read(root, *PACKAGES)
        if not source.name.startswith("supervisor")
        for line in catches_everything(source)
    ]


def catches_everything(source: Source) -> Iterator[int]:
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.ExceptHandler)
            and (node.type is None or is_broad(node.type))
            and not raises_again(node)
        ):
            yield node.lineno
        if isinstance(node, ast.Call) and called(node).endswith("suppress") and any(map(is_broad, node.args)):
            yield node.lineno


def raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def is_broad(node: ast.expr) -> bool:
    kinds = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(dotted_name(kind) in {"Exception", "BaseException", "builtins.Exception"} for kind in kinds)


def docstrings(root: Path) -> list[str]:
    """Every module opens by saying what it is."""
    return [
        source.at(1, "has no docstring")
        for source in read(root, *PACKAGES)
        if not (ast.get_docstring(source.tree) or "").strip()
    ]


def length(root: Path) -> list[str]:
    """No file of code is longer than LONGEST lines."""
    return [
        f"{path.relative_to(root).as_posix()}:{lines}: longer than {LONGEST} lines"
        for path in tracked(root)
        if path.suffix in COUNTED and (lines := len(path.read_text("utf-8").splitlines())) > LONGEST
    ]


def tracked(root: Path) -> list[Path]:
    """The files git knows or would take in; in a tree without git, all but those in folders that .gitignore names."""
    if not (root / ".git").exists():
        return sorted(path for path in root.rglob("*") if path.is_file() and not is_ignored(root, path))
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(path for name in set(listed.stdout.split("\0")) if name and (path := root / name).is_file())


def is_ignored(root: Path, path: Path) -> bool:
    listed = root / ".gitignore"
    folders = (
        [line[:-1] for line in listed.read_text("utf-8").splitlines() if line.endswith("/")] if listed.exists() else []
    )
    below = path.relative_to(root).parent.as_posix()
    return any(fnmatch.fnmatch(f"/{below}/", f"*/{folder}/*") for folder in folders)
