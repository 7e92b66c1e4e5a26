"""Bundles on a relay's disk: only whole and signed ones stay, whatever the disk or another relay does."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.errors import NotAllowed, StoreUnavailable
from relay.fleet.gateway import ReleaseFolder
from tests.fulldisk import no_file_beyond
from tests.provisioning.releases import release, trusted

FILE = "homeside-1.1.0.tar"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(tmp_path_factory.mktemp("bundle"), "1.1.0")


@pytest.fixture
def folder(tmp_path: Path) -> ReleaseFolder:
    return ReleaseFolder(tmp_path / "releases", trusted(tmp_path / "keys"))


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "releases").iterdir())


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


async def body(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 100_000):
        yield data[at : at + 100_000]


async def test_a_full_disk_takes_no_bundle_and_keeps_none_of_it(
    folder: ReleaseFolder, bundle: Path, tmp_path: Path
) -> None:
    with no_file_beyond(200_000), pytest.raises(StoreUnavailable, match="File too large"):
        await folder.take(body(bundle.read_bytes()))
    assert left(tmp_path) == []
    assert (await folder.take(body(bundle.read_bytes()))).manifest.version == "1.1.0"
    assert left(tmp_path) == [FILE]


@pytest.mark.parametrize(
    "change",
    [lambda data: data[: len(data) // 2], lambda data: flipped(data, 500_000), lambda data: b""],
    ids=["truncated", "corrupt", "empty"],
)
async def test_what_is_not_as_signed_is_not_taken_in(
    folder: ReleaseFolder, bundle: Path, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(NotAllowed):
        await folder.take(body(change(bundle.read_bytes())))
    assert left(tmp_path) == []


async def test_anothers_signature_is_not_taken_in(folder: ReleaseFolder, tmp_path: Path) -> None:
    other = release(tmp_path / "other", "1.1.0", key=Ed25519PrivateKey.generate())
    with pytest.raises(NotAllowed, match="not signed by a key that is trusted"):
        await folder.take(body(other.read_bytes()))
    assert left(tmp_path) == []


@pytest.mark.parametrize("brought", ["whole", "torn", "nothing"])
async def test_a_bundle_from_another_relay_is_the_one_it_said_or_none(
    folder: ReleaseFolder, bundle: Path, tmp_path: Path, brought: str
) -> None:
    data = bundle.read_bytes()

    async def bring(file: str, into: Path) -> bool:
        assert file == FILE
        if brought != "nothing":
            into.write_bytes(data if brought == "whole" else data[:1000])
        return brought != "nothing"

    found = await folder.fetched(FILE, hashlib.sha256(data).hexdigest(), bring)
    assert (found is not None) is (brought == "whole")
    assert left(tmp_path) == ([FILE] if brought == "whole" else [])
