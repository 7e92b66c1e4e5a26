"""Debian's coturn for tests: STUN, and TURN over UDP, TCP and TLS, on one of this machine's own addresses."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests.peers import Child, find_peer

USER, PASSWORD = "kit", "secret"


class Coturn:
    """A running server; `trusted` is the environment for programs that are to trust its certificate."""

    def __init__(self, folder: Path) -> None:
        program = find_peer("turnserver", "coturn")
        self.address = own_address()
        self.port, self.tls_port = _free(self.address), _free(self.address)
        self.authority = folder / "cert.pem"
        _certificate(folder, self.address)
        self.trusted = {"SSL_CERT_FILE": str(self.authority)}
        options = [
            *("-n", "--no-dtls", "--no-cli", "--lt-cred-mech", "--realm", "homeside", "--user", f"{USER}:{PASSWORD}"),
            *("--listening-ip", self.address, "--relay-ip", self.address, "--allow-loopback-peers"),
            *("--listening-port", str(self.port), "--tls-listening-port", str(self.tls_port)),
            *("--cert", str(self.authority), "--pkey", str(folder / "key.pem"), "--log-file", "stdout"),
            *("--pidfile", str(folder / "pid"), "--userdb", str(folder / "db")),
        ]
        self.child = Child([program, *options], cwd=folder)
        self.child.wait_until(lambda: _listens(self.address, self.tls_port), "answer of coturn")

    @property
    def stun(self) -> str:
        return f"stun:{self.address}:{self.port}"

    def turn(self, way: str) -> str:
        """The TURN URL over `udp`, `tcp` or `tls`."""
        if way == "tls":
            return f"turns:{self.address}:{self.tls_port}?transport=tcp"
        return f"turn:{self.address}:{self.port}?transport={way}"

    def end(self) -> None:
        self.child.kill()


def own_address() -> str:
    """This machine's own address: aioice ignores loopback, so TURN must be reached at another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def _free(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _certificate(folder: Path, address: str) -> None:
    """Make a self-signed certificate for this address, valid for one day."""
    openssl = find_peer("openssl", "openssl")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    words += ["-subj", "/CN=turn", "-addext", f"subjectAltName=IP:{address}"]
    words += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([openssl, *words], check=True, capture_output=True)
