"""Who may import whom: the floors of the house, and the five rooms inside each of the relay's APIs."""

from __future__ import annotations

from pathlib import Path

from tests.laws.tree import PACKAGES, ROOMS, Source, called, read, within

BELOW = {
    "core": (),
    "firmware_bridge": ("core",),
    "agent": ("core", "firmware_bridge"),
    "relay": ("core", "firmware_bridge"),
    "provisioning": ("core", "firmware_bridge"),
}
ON_BOARDS = "firmware_bridge/reference/"
"""MicroPython for sensor boards: no module of ours imports it, and it runs where the pins and clocks are."""
CROSSING = ("relay/main.py", "agent.vision.hands")

WORLD = (
    *("aiomqtt", "aiosqlite", "amqtt", "asyncio", "bleak", "concurrent", "fastapi", "ftplib", "http", "httpx", "io"),
    *("logging", "multiprocessing", "os", "paho", "pathlib", "queue", "random", "sched", "secrets", "select"),
    *("selectors", "serial", "shutil", "signal", "socket", "sqlalchemy", "sqlite3", "ssl", "starlette", "structlog"),
    *("subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid", "uvicorn", "websockets"),
)
CLOCKS_AND_FILES = ("open", "print", "input", "datetime.now", "datetime.utcnow", "datetime.today", "date.today")
PURE = ("rules", "expiry")
"""What modules are called that decide, in the rooms of the relay's APIs."""
WEB = ("fastapi", "starlette", "uvicorn")
DATABASE = ("sqlalchemy", "aiosqlite", "sqlite3", "asyncpg", "alembic", "relay.db")


def floors(root: Path) -> list[str]:
    """Imports point down only; the one crossing is written in CROSSING."""
    return [
        source.at(line, f"{source.package} may not import {module}")
        for source in read(root, *PACKAGES)
        for line, module in source.imports()
        if within(module, *PACKAGES)
        and not within(module, source.package, *BELOW[source.package])
        and not (source.path == CROSSING[0] and within(module, CROSSING[1]))
    ]


def purity(root: Path) -> list[str]:
    """core, firmware_bridge and what decides in a room reach nothing outside: no I/O, clock, task, chance or log.

    What those import from the rooms is as pure as they are.
    """
    pure = [source for source in read(root, "core", "firmware_bridge") if not source.path.startswith(ON_BOARDS)]
    sources = {source.dotted: source for room in ROOMS for source in read(root, f"relay/{room}")}
    ruled = parts_of_rules(sources)
    return [found for source in (*pure, *ruled) for found in touches_the_world(source)]


def parts_of_rules(sources: dict[str, Source]) -> list[Source]:
    """The PURE ones, the modules of the relay's rooms that they import, and those that these import."""
    found: dict[str, Source] = {}
    waiting = [source for source in sources.values() if source.name in PURE]
    while waiting:
        source = waiting.pop()
        if source.dotted not in found:
            found[source.dotted] = source
            imported = {module.rsplit(".", cut)[0] for _, module in source.imports() for cut in (0, 1)}
            waiting += [sources[module] for module in imported & sources.keys()]
    return list(found.values())


def touches_the_world(source: Source) -> list[str]:
    imported = [
        source.at(line, f"imports {module}; time, bytes and chance are arguments here")
        for line, module in source.imports()
        if within(module, *WORLD)
    ]
    asked = [
        source.at(node.lineno, f"calls {called(node)}; time and bytes are arguments here")
        for node in source.calls()
        if any(called(node) == name or called(node).endswith("." + name) for name in CLOCKS_AND_FILES if "." in name)
        or called(node) in CLOCKS_AND_FILES
    ]
    return imported + asked


def rooms(root: Path) -> list[str]:
    """routes know no SQL, service neither web nor SQL, rules only core, store no web; main joins them."""
    sources = [source for room in ROOMS for source in read(root, f"relay/{room}")]
    return [
        source.at(line, f"{source.name} may not import {module}")
        for source in sources
        for line, module in source.imports()
        if within(module, *closed_to(source))
    ]


def closed_to(source: Source) -> tuple[str, ...]:
    room = source.dotted.rsplit(".", 1)[0]
    siblings = tuple(f"{room}.{name}" for name in ("routes", "service", "store", "gateway"))
    closed = {
        "routes": DATABASE,
        "rules": (*WEB, *DATABASE, *siblings),
        "store": (*WEB, siblings[0], siblings[1]),
        "gateway": (*WEB, *DATABASE, siblings[0]),
        "__init__": (),
        "main": (),
    }
    return closed.get(source.name, (*WEB, *DATABASE, siblings[0]))


def database(root: Path) -> list[str]:
    """In the relay, only stores, relay/db and the wiring know the database."""
    knowing = ("ground", "main", "__main__", "store")
    return [
        source.at(line, f"only store.py, db/ and main.py know the database, not {module}")
        for source in read(root, "relay")
        if source.name not in knowing and not source.path.startswith("relay/db/")
        for line, module in source.imports()
        if within(module, *DATABASE)
    ]
