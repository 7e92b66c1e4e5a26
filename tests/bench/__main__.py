"""`make bench`: every benchmark, one table each, and docs/benchmarks.md with the machine named."""

from __future__ import annotations

import importlib
import inspect
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import structlog
from rich.console import Console

from tests.bench.rows import Row, number, show
from tests.peers import REPO_ROOT

PAGE = REPO_ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Measured by `make bench` on {machine}, {when}. No Raspberry Pi was measured. *Beside* is another program measured in the
same run, or the goal; on a shared machine read the ratios, not the figures. Where a peer is not installed its row is
left out.
"""


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    console = Console()
    wanted = sys.argv[1:]
    folder = Path(__file__).parent
    names = sorted(path.stem.removeprefix("bench_") for path in folder.glob("bench_*.py"))
    parts = [INTRODUCTION.format(machine=machine(), when=datetime.now(UTC).date().isoformat())]
    for name in names:
        if wanted and name not in wanted:
            continue
        console.print(f"Measuring {name} …")
        module = importlib.import_module(f"tests.bench.bench_{name}")
        rows = measure(module)
        if rows is None:
            console.print(f"  {name} needs recorded data: HOMESIDE_DATA names no folder; left out.")
            continue
        show(name, rows)
        parts.append(section(name, module, rows))
    if not wanted:
        PAGE.write_text("\n".join(parts))
        console.print(f"Written to {PAGE.relative_to(REPO_ROOT)}.")


def measure(module: ModuleType) -> list[Row] | None:
    """The module's rows; None when it needs recordings and there are none."""
    if "data_dir" not in inspect.signature(module.rows).parameters:
        return list(module.rows())
    data = os.environ.get("HOMESIDE_DATA")
    return list(module.rows(Path(data))) if data else None


def section(name: str, module: ModuleType, rows: list[Row]) -> str:
    first = (module.__doc__ or "").strip().splitlines()[0]
    lines = [
        f"## {name}\n",
        f"{first}\n",
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
    main()
