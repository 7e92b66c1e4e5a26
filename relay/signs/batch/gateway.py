"""Fetches a video from a URL given by a client, without letting that URL reach into the relay's own network.

A host name is resolved once, all its addresses must be public, and the connection goes to the address that was checked,
so that a name that resolves differently a moment later gains nothing. Each redirect is checked like a new request. Only
http and https, no credentials, no proxy from the environment, and limits on bytes, seconds and redirects.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore2

from relay.errors import VideoRefused

REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_CONNECT_S = 10.0
_READ_S = 20.0


def public(address: str) -> bool:
    """Whether an IP address is public; for an IPv6 address that embeds an IPv4 one, that one is checked."""
    found: Any = ipaddress.ip_address(address.split("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        wrapped = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found in ipaddress.ip_network("64:ff9b::/96"):
            wrapped = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if wrapped is not None:
            return public(str(wrapped))
    return bool(found.is_global and not found.is_multicast)


class PublicNetwork(httpcore2.AsyncNetworkBackend):
    """Connects only to public addresses, and to the host names in `allowed` wherever they are."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._below = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the signature of its backends
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        address = await self._address(host, port)
        return await self._below.connect_tcp(address, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  the signature of its backends
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise VideoRefused("Sockets of this machine are not fetched from.")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _address(self, host: str, port: int) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise VideoRefused(f"The host {host[:100]!r} is not known.") from None
        addresses = [str(one[4][0]) for one in found]
        if host.lower() not in self._allowed and not all(public(one) for one in addresses):
            raise VideoRefused(
                f"The host {host[:100]!r} is inside a private network and is not fetched from. Whoever runs this relay "
                "may allow it by name (signs.batch_hosts)."
            )
        return addresses[0]


class Fetcher:
    """Downloads what a URL serves into a file."""

    def __init__(self, allowed: Collection[str], most_bytes: int, within_s: float) -> None:
        self._allowed = allowed
        self._most = most_bytes
        self._within_s = within_s

    def check(self, url: str) -> None:
        """Raises VideoRefused for a URL that is refused without connecting: other schemes, credentials, private
        addresses.
        """
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise VideoRefused("The video_url cannot be read as a URL.") from None
        if parts.scheme not in ("http", "https") or not host:
            raise VideoRefused(f"Only http and https addresses are fetched, not {parts.scheme[:20] or 'a file'}.")
        if parts.username is not None or parts.password is not None:
            raise VideoRefused("An address with a user's name or password in it is not fetched.")
        if host.lower() not in self._allowed and not _may_be_public(host):
            raise VideoRefused(f"The host {host[:100]!r} is inside a private network and is not fetched from.")

    async def fetch(self, url: str, target: Path, progress: Callable[[float], None]) -> None:
        """Download `url` to `target`. `progress` gets the share received (0-1), if the server says how long it is.
        Raises VideoRefused.
        """
        try:
            async with asyncio.timeout(self._within_s):
                await self._follow(url, target, progress)
        except TimeoutError:
            raise VideoRefused(f"The video did not come within {self._within_s:g} s.") from None
        except (
            httpcore2.TimeoutException,
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.UnsupportedProtocol,
        ) as error:
            raise VideoRefused(f"The video cannot be fetched ({type(error).__name__}).") from None

    async def _follow(self, url: str, target: Path, progress: Callable[[float], None]) -> None:
        async with httpcore2.AsyncConnectionPool(network_backend=PublicNetwork(self._allowed), retries=0) as pool:
            for _ in range(REDIRECTS + 1):
                self.check(url)
                moved = await self._get(pool, url, target, progress)
                if moved is None:
                    return
                url = urljoin(url, moved)
        raise VideoRefused(f"The address moves on more than {REDIRECTS} times.")

    async def _get(
        self, pool: httpcore2.AsyncConnectionPool, url: str, target: Path, progress: Callable[[float], None]
    ) -> str | None:
        """The URL of a redirect, or None if the video was written to `target`."""
        timeouts = {"connect": _CONNECT_S, "read": _READ_S, "write": _READ_S, "pool": _CONNECT_S}
        headers: list[tuple[bytes | str, bytes | str]] = [
            ("User-Agent", "Homeside"),
            ("Accept", "video/*"),
            ("Accept-Encoding", "identity"),
        ]
        async with pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as answer:
            told = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
            if answer.status in _MOVED and b"location" in told:
                return told[b"location"]
            if answer.status != 200:
                raise VideoRefused(f"The server answered {answer.status} instead of a video.")
            length = told.get(b"content-length", "")
            expected = int(length) if length.isdigit() else 0
            if expected > self._most:
                raise VideoRefused(f"The video has {expected} bytes; at most {self._most} are read.")
            await self._write(answer, target, expected, progress)
            return None

    async def _write(
        self, answer: httpcore2.Response, target: Path, expected: int, progress: Callable[[float], None]
    ) -> None:
        size = 0
        with target.open("wb") as file:
            async for part in answer.aiter_stream():
                size += len(part)
                if size > self._most:
                    raise VideoRefused(f"The video is larger than {self._most} bytes.")
                await asyncio.to_thread(file.write, part)
                progress(size / expected if expected else 0.0)
        if size == 0:
            raise VideoRefused("The video is empty.")


def _may_be_public(host: str) -> bool:
    """Whether a host may be public: False for a private address or a local name; other names are checked on
    connecting.
    """
    if host.lower() == "localhost" or host.lower().endswith((".localhost", ".local", ".internal")):
        return False
    try:
        return public(host)
    except ValueError:
        return not host.replace(".", "").isdigit() and not host.lower().startswith("0x")
