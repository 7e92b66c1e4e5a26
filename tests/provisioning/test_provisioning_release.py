"""Bundles: what is signed is what is taken, and everything else is refused with the reason."""

from __future__ import annotations

import importlib.metadata
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from core.contracts.errors import InvalidMessage
from core.contracts.release import FORMAT, Manifest, decode_keys, newer, parse_version
from provisioning.errors import ReleaseUnusable
from provisioning.release import contents
from provisioning.release.bundle import load_key, make_key, pack, sign, verify
from tests.peers import REPO_ROOT, start_homeside
from tests.provisioning.releases import KEY, altered, release, trusted, wheel

PUBLIC = [KEY.public_key()]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(tmp_path_factory.mktemp("release"), "1.4.2")


def retar(data: bytes, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> bytes:
    """The same archive with its members changed."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [(one, archive.extractfile(one).read()) for one in archive.getmembers()]  # type: ignore[union-attr]
    change(members)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, body in members:
            info.size = len(body) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(body))
    return out.getvalue()


def extra(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo("wheels/evil.whl"), b"x"))


def linked(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    info = members[2][0]
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members[2] = (info, b"")


def outside(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo("../../etc/cron.d/evil"), b"x"))


def other_manifest(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[0] = (members[0][0], members[0][1].replace(b"1.4.2", b"9.9.9"))


BAD = {
    "truncated": lambda data: data[: len(data) // 2],
    "cut in its head": lambda data: data[:700],
    "empty": lambda data: b"",
    "no bundle": lambda data: b"\x7fELF" + data[4:],
    "a bit flipped": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
    ),
    "a file more": lambda data: retar(data, extra),
    "a file twice": lambda data: retar(data, lambda members: members.append(members[2])),
    "a file less": lambda data: retar(data, lambda members: members.pop(2)),
    "a link": lambda data: retar(data, linked),
    "a path outside": lambda data: retar(data, outside),
    "another manifest": lambda data: retar(data, other_manifest),
    "no signature": lambda data: retar(data, lambda members: members.pop(1)),
    "an empty signature": lambda data: retar(data, lambda members: members.__setitem__(1, (members[1][0], b""))),
}


def test_a_bundle_is_what_was_signed(bundle: Path) -> None:
    manifest = verify(bundle, PUBLIC)
    assert manifest.version == "1.4.2"
    assert list(manifest.files) == ["wheels/homeside-1.4.2-py3-none-any.whl"]


@pytest.mark.parametrize("how", BAD)
def test_what_is_not_as_signed_is_refused(bundle: Path, tmp_path: Path, how: str) -> None:
    with pytest.raises(ReleaseUnusable):
        verify(altered(bundle, tmp_path / "bad.tar", BAD[how]), PUBLIC)


def test_another_ones_signature_is_refused(bundle: Path) -> None:
    with pytest.raises(ReleaseUnusable, match="not signed by a key that is trusted"):
        verify(bundle, [Ed25519PrivateKey.generate().public_key()])


@given(st.data())
def test_no_byte_can_be_changed_unseen(bundle: Path, data: st.DataObject) -> None:
    """Padding between a tar's members is nobody's; every byte that is read is signed."""
    whole = bytearray(bundle.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(bytes(whole))) as archive:
        member = data.draw(st.sampled_from(archive.getmembers()))
    at = data.draw(st.integers(member.offset_data, member.offset_data + member.size - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    path = bundle.with_name("changed.tar")
    path.write_bytes(whole)
    with pytest.raises(ReleaseUnusable):
        verify(path, PUBLIC)


def test_the_same_contents_make_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "one.whl").write_bytes(b"a wheel")
    for target in ("first.tar", "second.tar"):
        pack(tmp_path / target, {"wheels/one.whl": tmp_path / "one.whl"}, Manifest(FORMAT, "1.0.0", "2026-11-21", {}))
        sign(tmp_path / target, tmp_path / f"signed-{target}", KEY)
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    assert (tmp_path / "signed-first.tar").read_bytes() == (tmp_path / "signed-second.tar").read_bytes()


def test_a_wheel_for_many_systems_has_a_long_name(tmp_path: Path) -> None:
    """As websockets' has: 115 letters, beyond what a tar's own header holds."""
    path = tmp_path / f"some-1.0-cp311-cp311-{'.'.join(f'manylinux_2_{n}_x86_64' for n in range(17, 22))}.whl"
    assert len(path.name) > 100
    path.write_bytes(b"a wheel")
    pack(tmp_path / "u.tar", {f"wheels/{path.name}": path}, Manifest(FORMAT, "1.0.0", "2026-11-21", {}))
    assert list(sign(tmp_path / "u.tar", tmp_path / "s.tar", KEY).files) == [f"wheels/{path.name}"]


def test_a_bundle_that_could_not_be_packed_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"gone\.whl"):
        pack(
            tmp_path / "u.tar", {"wheels/gone.whl": tmp_path / "gone.whl"}, Manifest(FORMAT, "1.0.0", "2026-11-21", {})
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("older", "later"),
    [
        ("1.4.2", "1.4.3"),
        ("1.9.0", "1.10.0"),
        ("1.5.0rc1", "1.5.0"),
        ("1.5.0a2", "1.5.0b1"),
        ("1.5.0", "1.5.0.post1"),
        ("", "0.0.1"),
    ],
)
def test_which_is_newer(older: str, later: str) -> None:
    assert newer(later, older)
    assert not newer(older, later)
    assert not newer(later, later)


@pytest.mark.parametrize("text", ["1.4", "v1.4.2", "1.4.2-1", "1.4.2\n", "..", "1.4.2/../..", "1.4.99999999"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(InvalidMessage):
        parse_version(text)


def test_keys_as_lines(tmp_path: Path) -> None:
    assert len(decode_keys(trusted(tmp_path / "keys").read_text() + "\n# a comment\n")) == 1
    for line in ("ed25519", "rsa AAAA x", "ed25519 !!!! x", "ed25519 AAAA x"):
        with pytest.raises(InvalidMessage, match="Line 1"):
            decode_keys(line)


def test_a_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "release.pem"
    key = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path).public_key() == key.public_key()
    with pytest.raises(ReleaseUnusable, match="exists"):
        make_key(path)


def test_what_a_kit_needs_is_in_the_lock() -> None:
    names = contents.needed(["agent"])
    assert {"numpy", "paho-mqtt", "cryptography"} <= names
    assert not {"fastapi", "mediapipe", "pytest"} & names
    text = contents.lock_for((REPO_ROOT / "locks" / "runtime.txt").read_text(), names)
    assert set(contents.pins(text)) == names
    installed = {name: importlib.metadata.version(name) for name in ("numpy", "scipy")}
    assert {name: contents.pins(text)[name][0] for name in installed} == installed, "another Python's pin"
    with pytest.raises(ReleaseUnusable, match="not in the lock: nonsense"):
        contents.lock_for(text, ["nonsense"])


def test_the_list_of_parts_is_cyclonedx(tmp_path: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    parts = [contents.read_wheel(wheel(tmp_path, "1.0.0"))]
    parts.append(parts[0]._replace(name="numpy", version="2.0.0", licence="BSD-3-Clause"))
    text = json.dumps(contents.sbom("1.0.0", parts))
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    assert [part["purl"] for part in json.loads(text)["components"]] == ["pkg:pypi/numpy@2.0.0"]


def test_from_wheels_to_a_signed_bundle_by_command(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "1.4.2")
    (tmp_path / "lock.txt").write_text("")
    unsigned, signed = tmp_path / "one.unsigned.tar", tmp_path / "one.tar"
    words = [
        ("key", tmp_path / "release.pem"),
        ("make", "--wheels", wheels, "--lock", tmp_path / "lock.txt", "--out", unsigned),
        ("sign", unsigned, "--key", tmp_path / "release.pem"),
        ("verify", signed, "--keys", tmp_path / "keys"),
    ]
    for command in words:
        child = start_homeside("release", *command)
        assert child.wait(60.0) == 0, child.tail()
        if command[0] == "key":
            (tmp_path / "keys").write_text(child.lines[-1])
    assert "all as signed" in child.lines[-1]
    bad = start_homeside("release", "verify", unsigned, "--keys", tmp_path / "keys")
    assert bad.wait(60.0) == 2
    assert "does not begin with" in bad.tail()
