"""A cluster on four machines, each a network namespace with a cable to one switch; cables are pulled and put back.

Machines 1 to 3 hold a NATS server and a relay each, machine 4 the PostgreSQL, and the switch is where kits are. The
test itself steps into a namespace to ask something there. It takes root, and leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from relay.cluster.nodes import Node, configuration
from tests.peers import REPO_ROOT, Child, find_peer
from tests.peers_postgres import Postgres

NET = "10.213.77"
CLIENT, MQTT, ROUTE, HTTP = 4222, 1883, 6222, 8000
CLONE_NEWNET = 0x40000000
SWITCH, DATABASE = "switch", 4


def ip(*words: str) -> None:
    done = subprocess.run([find_peer("ip", "iproute2"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Net:
    """The namespaces and their cables."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("network namespaces take root")
        self._mark = f"homeside-{os.getpid()}"
        self.names = {machine: f"{self._mark}-{machine}" for machine in (SWITCH, 1, 2, 3, DATABASE)}
        self._libc = ctypes.CDLL(None, use_errno=True)

    def make(self) -> None:
        switch = self.names[SWITCH]
        for name in self.names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", switch, "link", "add", "name", "br0", "type", "bridge")
        ip("-n", switch, "addr", "add", f"{NET}.100/24", "dev", "br0")
        ip("-n", switch, "link", "set", "br0", "up")
        for machine in (1, 2, 3, DATABASE):
            name = self.names[machine]
            ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"to{machine}", "netns", switch)
            ip("-n", name, "addr", "add", f"{NET}.{machine}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", switch, "link", "set", f"to{machine}", "master", "br0", "up")

    def cable(self, machine: int, state: str) -> None:
        """`down` pulls it at the switch: the machine itself sees its link go."""
        ip("-n", self.names[SWITCH], "link", "set", f"to{machine}", state)

    def on(self, machine: int | str, *command: str | Path, **how: Any) -> Child:
        return Child([find_peer("ip", "iproute2"), "netns", "exec", self.names[machine], *command], **how)

    @contextmanager
    def inside(self, machine: int | str) -> Iterator[None]:
        """This thread's new sockets belong to that machine."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.names[machine]}", os.O_RDONLY)
        try:
            assert self._libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            yield
        finally:
            assert self._libc.setns(own, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            os.close(own)
            os.close(there)

    def remove(self) -> None:
        for name in self.names.values():
            with suppress(AssertionError):
                ip("netns", "delete", name)


class Machines:
    """`net` with a cluster on it; `stop` ends everything."""

    def __init__(self, folder: Path) -> None:
        self.net, self.folder = Net(), folder
        self.programs: list[Child] = []
        self._postgres: Postgres | None = None
        self.brokers = [f"mqtt://{NET}.{number}:{MQTT}" for number in (1, 2, 3)]
        self.relays = [f"http://{NET}.{number}:{HTTP}" for number in (1, 2, 3)]
        try:
            self.net.make()
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._postgres = Postgres()
        self._postgres.listen(f"{NET}.{DATABASE}", f"{NET}.0/24", self.net.names[DATABASE])
        server = find_peer("nats-server", "nats-server")
        for number in (1, 2, 3):
            node = Node(f"nats-{number}", CLIENT, MQTT, ROUTE)
            routes = [f"{NET}.{other}:{ROUTE}" for other in (1, 2, 3) if other != number]
            written = self.folder / f"nats-{number}.conf"
            host = f"{NET}.{number}"
            written.write_text(configuration(node, routes, self.folder / f"nats-{number}", 8, host))
            self.programs.append(self.net.on(number, server, "-c", written))
        for number in (1, 2, 3):
            self.programs.append(self._relay(number))
        for relay in self.programs[-3:]:
            relay.wait_for_event("relay_ready", 120.0)
        self.programs[-1].wait_until(lambda: all(self.ready(number) for number in (1, 2, 3)), "readiness", 120.0)

    def _relay(self, number: int) -> Child:
        nodes = ",".join(f"{NET}.{one}:{CLIENT}" for one in (number, *(o for o in (1, 2, 3) if o != number)))
        written = self.folder / f"relay-{number}.toml"
        assert self._postgres is not None
        written.write_text(
            f'data = "{self.folder / f"relay-{number}"}"\nhost = "0.0.0.0"\nopen_apis = ["scg"]\n'
            f'database_url = "postgresql://homeside@{NET}.{DATABASE}:{self._postgres.port}/postgres"\n'
            f'[mqtt]\nurl = "nats://{nodes}"\n[cluster]\nname = "relay-{number}"\nstream_mb = 256\n'
        )
        return self.homeside(number, "relay", "--config", written)

    def homeside(self, machine: int | str, *words: str | Path) -> Child:
        env = {"PYTHONPATH": str(REPO_ROOT), "PYTHONUNBUFFERED": "1"}
        return self.net.on(machine, sys.executable, "-m", "homeside", *words, env=env)

    def ready(self, number: int) -> bool:
        """Asked on the machine itself, whatever its cable does."""
        with self.net.inside(number), suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{HTTP}/readyz", timeout=5.0).status_code == 200
        return False

    def stop(self) -> None:
        for program in reversed(self.programs):
            program.end(20.0)
        if self._postgres is not None:
            self._postgres.remove()
        self.net.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
