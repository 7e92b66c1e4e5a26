"""`make bench`: every benchmark, one table each, in docs/benchmarks.md with the machine and the day beside it.

`python -m tests.bench timers video` measures those alone and leaves the other tables as they are. A benchmark that
fails says why, keeps its old table, and makes the command fail at the end.
"""

from __future__ import annotations

import importlib
import inspect
import os
import platform
import re
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import structlog
from rich.console import Console

from tests.bench.rows import Row, number, show
from tests.peers import REPO_ROOT

PAGE = REPO_ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

`make bench` writes this page, one table per benchmark. Above each table stand the machine and the day. Nothing was
measured on a Raspberry Pi. *Beside* names another program measured in the same run, or the goal, and *theirs* is its
figure. On a shared machine, read the ratios rather than the figures. If a peer is not installed, its row is left out.
"""


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    console = Console()
    names = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    wanted = sys.argv[1:] or names
    if unknown := set(wanted) - set(names):
        console.print(f"No benchmark is called {', '.join(sorted(unknown))}. There are: {', '.join(names)}.")
        return 2
    failed = [name for name in wanted if not run(name, console)]
    console.print(f"Written to {PAGE.relative_to(REPO_ROOT)}.")
    if failed:
        console.print(f"Failed: {', '.join(failed)}; their tables are the old ones.")
    return 1 if failed else 0


def run(name: str, console: Console) -> bool:
    """Measure one and put its table into the page; False when it failed."""
    console.print(f"Measuring {name} …")
    module = importlib.import_module(f"tests.bench.bench_{name}")
    try:
        rows = measure(module)
    except Exception:  # noqa: BLE001  one that fails is told, and the others still run
        traceback.print_exc()
        return False
    if rows is None:
        console.print(f"  {name} needs recorded data: HOMESIDE_DATA names no folder; left out.")
        return True
    show(name, rows)
    write(name, section(name, module, rows))
    return True


def measure(module: ModuleType) -> list[Row] | None:
    """The module's rows; None when it needs recordings and there are none."""
    if "data_dir" not in inspect.signature(module.rows).parameters:
        return list(module.rows())
    data = os.environ.get("HOMESIDE_DATA")
    return list(module.rows(Path(data))) if data else None


def write(name: str, table: str) -> None:
    """Put `table` in its place among the page's tables, which stand in the order of their names."""
    found = re.split(r"^(?=## )", PAGE.read_text() if PAGE.exists() else "", flags=re.MULTILINE)[1:]
    tables = {one.partition("\n")[0].removeprefix("## "): one for one in found}
    tables[name] = table
    PAGE.write_text("\n".join([INTRODUCTION, *(tables[key].rstrip("\n") + "\n" for key in sorted(tables))]))


def section(name: str, module: ModuleType, rows: list[Row]) -> str:
    first = (module.__doc__ or "").strip().split("\n\n")[0]
    lines = [
        f"## {name}\n",
        f"{first}\n",
        f"{machine()}, {datetime.now(UTC).date().isoformat()}.\n",
        "| what | ours | unit | beside | theirs | ratio |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {number(row.value)} | {row.unit} | {row.peer} | {number(row.peer_value)} |"
        f" {number(row.ratio)} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Cores, processor and system, as /proc tells them."""
    found = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    model = found[0] if found else platform.machine()
    return f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
