"""Reading a source tree: which files there are, and what each imports, calls and names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("agent", "provisioning", "relay")
PACKAGES = ("core", "firmware_bridge", *PROGRAMS)
ROOMS = ("physio", "scg", "signs", "timers", "video")


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the root in posix form, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.split("/")[0]

    @property
    def name(self) -> str:
        """The file's name without .py."""
        return self.path.rsplit("/", 1)[-1].removesuffix(".py")

    @property
    def dotted(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def at(self, line: int, what: str) -> str:
        return f"{self.path}:{line}: {what}"

    def imports(self) -> Iterator[tuple[int, str]]:
        """Every imported module, with its line: at the head, inside functions, and by import_module("...")."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Call) and called(node).endswith(("import_module", "__import__")):
                yield from ((node.lineno, str(word.value)) for word in node.args if isinstance(word, ast.Constant))

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.path.split("/")[: -node.level]
        return ".".join([*parts, node.module] if node.module else parts)

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))


def read(root: Path, *folders: str) -> list[Source]:
    """All Python files below the folders, sorted by path."""
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return [
        Source(path.relative_to(root).as_posix(), text := path.read_text("utf-8"), ast.parse(text, str(path)))
        for path in paths
        if "node_modules" not in path.parts
    ]


def called(node: ast.Call) -> str:
    """What is called, as written: `datetime.now`, `open`; empty when it is no plain name."""
    return dotted_name(node.func)


def dotted_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted_name(node.value)
        return f"{base}.{node.attr}" if base else node.attr
    return ""


def within(module: str, *packages: str) -> bool:
    """True when `module` is one of the packages or lies below one."""
    return any(module == package or module.startswith(package + ".") for package in packages)
