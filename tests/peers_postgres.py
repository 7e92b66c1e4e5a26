"""A PostgreSQL cluster of the tests' own: in a temporary folder, on loopback, as a user without privileges.

PostgreSQL refuses to run as root, so a root's tests hand the folder to `nobody`. Each `database()` is a fresh one.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from relay.db.engine import database_url, migrate, open_engine
from tests.peers import Child, find_peer, free_port

PROGRAMS = Path("/usr/lib/postgresql")
SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=60", "shared_buffers=64MB")
"""What a crash of the whole machine would lose does not matter here; a killed server loses nothing by it."""


class Postgres:
    """A running server; stop it, kill it, start it again on the same port and data."""

    def __init__(self, settings: tuple[str, ...] = SETTINGS) -> None:
        self._programs = _programs()
        self._user: dict[str, Any] = {}
        self.settings = settings
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="homeside-postgres-", dir=self._home()))
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._user = self._identity(nobody)
        self.child: Child | None = None
        self._tables = ""
        data = str(self.folder / "data")
        self._run(self._server("initdb", "-D", data, "-U", "homeside", "-A", "trust", "-E", "UTF8", "--no-sync"))

    def _identity(self, account: pwd.struct_passwd) -> dict[str, Any]:
        """Whom its programs are started as, by a root."""
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def _home(self) -> Path | None:
        """Where its folder is made; None is the machine's place for such folders."""
        return None

    def _server(self, program: str, *words: str) -> list[str]:
        """The command that runs one of the server's own programs."""
        return [str(self._programs / program), *words]

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **self._user, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Returns when it answers."""
        words = ["-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder)]
        for setting in self.settings:
            words += ["-c", setting]
        self.child = Child(self._server("postgres", *words), cwd=self.folder, **self._user)
        self.child.wait_until(self._ready, "answer of PostgreSQL")

    def listen(self, address: str, net: str, namespace: str) -> None:
        """Answer in a network namespace, to everybody of `net`."""
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {net} trust\n")
        words = ["-D", self.folder / "data", "-p", str(self.port), "-h", address, "-k", self.folder]
        inside = [find_peer("ip", "iproute2"), "netns", "exec", namespace]
        inside += ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self.child = Child([*inside, self._programs / "postgres", *words], cwd=self.folder)
        asked = [self._programs / "pg_isready", "-h", str(self.folder), "-p", str(self.port), "-U", "homeside"]

        def ready() -> bool:
            return subprocess.run(asked, capture_output=True, check=False).returncode == 0

        self.child.wait_until(ready, "answer of PostgreSQL")

    def _ready(self) -> bool:
        asked = [self._programs / "pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-U", "homeside"]
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0

    def database(self, *, bare: bool = False) -> str:
        """A new database's URL; the relay's tables, made once, are copied into it unless it is to be `bare`."""
        name = f"d{uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {'template0' if bare else self._with_tables()}", "postgres")
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://homeside@127.0.0.1:{self.port}/{name}"

    def _with_tables(self) -> str:
        if not self._tables:
            self.sql("CREATE DATABASE tables", "postgres")
            with ThreadPoolExecutor(1) as beside:
                beside.submit(asyncio.run, _migrated(self._url("tables"))).result()
            self._tables = "tables"
        return self._tables

    def sql(self, statement: str, database: str) -> str:
        """psql's bare output of one statement."""
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "homeside", "-d", database)
        asked = ("-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement)
        return self._run([str(self._programs / "psql"), *where, *asked])

    def kill(self) -> None:
        """SIGKILL to the server: no goodbye, no checkpoint. Returns when its orphans have noticed, as restarts must."""
        assert self.child is not None
        orphans = psutil.Process(self.child.pid).children(recursive=True)
        self.child.signal(signal.SIGKILL)
        self.child.wait(20.0)
        assert not psutil.wait_procs(orphans, timeout=30)[1], "PostgreSQL's processes outlive their server"

    def stop(self) -> None:
        if self.child is not None and self.child.running:
            self.child.signal(signal.SIGINT)
            self.child.wait(20.0)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


async def _migrated(url: str) -> None:
    engine = open_engine(database_url(url, Path()))
    await migrate(engine)
    await engine.dispose()


def _programs() -> Path:
    found = sorted(PROGRAMS.glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = Path(find_peer("initdb", "postgresql"))
    if not path.exists():
        pytest.skip("PostgreSQL is not installed (Debian package: postgresql)")
    return path.parent
