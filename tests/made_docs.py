"""Documents made from the code, so that they cannot rot: settings, metrics, commands.

`python -m tests.made_docs` writes them; tests/test_made_docs.py fails when one differs from what is committed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer.main
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from agent.settings import AgentSettings
from homeside import PROGRAMS, app, load
from provisioning.settings import UpdaterSettings
from relay.process.metrics import Metrics
from relay.settings import RelaySettings
from tests.peers import REPO_ROOT

DOCS = REPO_ROOT / "docs"
WIDE = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "100"}


def settings_page() -> str:
    """Every setting of the programs, its default and what it does."""
    parts = [
        "# Settings\n",
        "A program reads its settings from a TOML file (`--config`), from the environment, and from the options that",
        "[commands.md](commands.md) lists. Options override the environment, and the environment overrides the file.",
        "An unknown key is an error, and the message names it. The key `limits.backlog_s`, for example, is `backlog_s`",
        "under `[limits]` in the file and `HOMESIDE_RELAY_LIMITS__BACKLOG_S` in the environment.\n",
    ]
    for title, model, prefix in (
        ("The relay", RelaySettings, "HOMESIDE_RELAY_"),
        ("The agent", AgentSettings, "HOMESIDE_AGENT_"),
        ("The updater", UpdaterSettings, "HOMESIDE_UPDATER_"),
    ):
        parts += [f"## {title}\n", f"Environment: `{prefix}…`.\n", "| key | default | what it does |", "|---|---|---|"]
        parts += [f"| `{key}` | {default} | {text} |" for key, default, text in _fields(model)]
        parts.append("")
    return "\n".join(parts)


def _fields(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _fields(inner, f"{before}{name}.")
        elif listed := [one for one in get_args(inner) if isinstance(one, type) and issubclass(one, BaseModel)]:
            yield before + name, _default(field), (field.description or "").replace("|", "\\|")
            yield from _fields(listed[0], f"{before}{name}[].")
        else:
            yield before + name, _default(field), (field.description or "").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "this machine's name" if field.annotation is str else "`~/.local/state/homeside/agent`"
    value: Any = field.default
    if field.is_required():
        return "required"
    if value in (None, "", ()):
        return "empty"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def metrics_page() -> str:
    """Every name /metrics serves."""
    lines = [
        "# Metrics\n",
        "`GET /metrics` on the relay, in the text format Prometheus reads. No label names a person or a session.\n",
        "| name | kind | meaning |",
        "|---|---|---|",
    ]
    for family in Metrics().registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        lines.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """The help of every command, as printed, and of the commands in it."""
    root = typer.main.get_command(app)
    assert set(PROGRAMS) == set(root.list_commands(None))  # type: ignore[attr-defined, arg-type]
    parts = ["# Commands\n", *_help([])]
    for name in PROGRAMS:
        for words in _paths([name], load(name)):
            parts += [f"{'#' * min(len(words) + 1, 4)} homeside {' '.join(words)}\n", *_help(words)]
    return "\n".join(parts)


def _paths(words: list[str], command: Any) -> Iterator[list[str]]:
    """A command and those inside it, each as the words that call it."""
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from _paths([*words, name], inner)


def _help(words: list[str]) -> list[str]:
    output = CliRunner().invoke(app, [*words, "--help"], prog_name="homeside", env=WIDE).output
    return ["```text", _plain(output), "```\n"]


def _plain(text: str) -> str:
    bare = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "\n".join(line.rstrip() for line in bare.strip().splitlines())


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "commands.md": commands_page,
}


def write(folder: Path = DOCS) -> None:
    for name, make in PAGES.items():
        (folder / name).write_text(make())


if __name__ == "__main__":
    write()
