"""A board with MCUboot behind MCUmgr's SMP: two slots, a trial, a confirmation, and the way back without one.

Behind a pseudo-terminal (SMP over console) or on the virtual radio. It can be cut in the middle, and can boot an image
that does not come up.
"""

from __future__ import annotations

import base64
import hashlib
import os
import select
import struct
import threading
import tty
from contextlib import suppress
from pathlib import Path
from typing import Any

from bumble.gatt import Characteristic, Service
from smp import header as smphdr
from smp import image_management as img
from smp import os_management as osm
from smp import packet
from smp.header import CommandId, GroupId

from agent.sensors.smp_link import CHARACTERISTIC, SERVICE
from firmware_bridge.mcuboot import MAGIC, TLV_MAGIC, parse_image
from tests.radio.peripherals import NOTIFY, Peripheral, heard

BUFFER = 1024


def made_image(version: tuple[int, int, int], size: int = 128 * 1024, *, comes_up: bool = True) -> bytes:
    """As imgtool makes one without a key: header, body, SHA-256."""
    body = (b"runs" if comes_up else b"dies") + hashlib.sha256(repr(version).encode()).digest() * (size // 32)
    head = struct.pack("<IIHHIIBBHII", MAGIC, 0, 32, 0, len(body), 0, *version, 0, 0)
    digest = hashlib.sha256(head + body).digest()
    return head + body + struct.pack("<HHHH", TLV_MAGIC, 40, 0x10, 32) + digest


class Board:
    """What SMP talks to. `handle` takes a request and gives the response, or None when the board just died."""

    def __init__(self) -> None:
        self.slots: list[bytes | None] = [made_image((1, 0, 0), 4096), None]
        self.confirmed, self.pending = True, False
        self.uploaded = b""
        self.requests = self.resets = 0
        self.cut_at: int | None = None
        """Once: dies after so many bytes of an image."""
        self.reconnect = False
        self._sha, self._length = b"", 0

    def handle(self, request: bytes) -> bytes | None:
        self.requests += 1
        head = smphdr.Header.loads(request[:8])
        key = (head.group_id, head.command_id, head.op)
        handlers: dict[Any, Any] = {
            (GroupId.IMAGE_MANAGEMENT, CommandId.ImageManagement.STATE, smphdr.OP.READ): self._read,
            (GroupId.IMAGE_MANAGEMENT, CommandId.ImageManagement.STATE, smphdr.OP.WRITE): self._write,
            (GroupId.IMAGE_MANAGEMENT, CommandId.ImageManagement.UPLOAD, smphdr.OP.WRITE): self._upload,
            (GroupId.OS_MANAGEMENT, CommandId.OSManagement.RESET, smphdr.OP.WRITE): self._reset,
            (GroupId.OS_MANAGEMENT, CommandId.OSManagement.MCUMGR_PARAMETERS, smphdr.OP.READ): self._parameters,
        }
        answer = handlers[key](request, head.sequence)
        return None if answer is None else bytes(answer.BYTES)

    def boot(self) -> None:
        """MCUboot: a pending image is swapped in on trial; one that was not confirmed is swapped out again."""
        self.resets += 1
        if self.pending:
            self.slots.reverse()
            self.pending, self.confirmed = False, False
            if b"dies" in self.slots[0][:40]:
                self.boot()
        elif not self.confirmed:
            self.slots.reverse()
            self.confirmed = True

    def _states(self) -> list[img.ImageState]:
        found = []
        for number, data in enumerate(self.slots):
            if data is not None:
                image, active = parse_image(data), number == 0
                found.append(
                    img.ImageState(
                        slot=number,
                        version=image.version,
                        hash=image.digest,
                        bootable=True,
                        active=active,
                        confirmed=active and self.confirmed,
                        pending=not active and self.pending,
                        permanent=False,
                    )
                )
        return found

    def _read(self, request: bytes, sequence: int) -> Any:
        return img.ImageStatesReadResponse(images=self._states(), splitStatus=0, sequence=sequence)

    def _write(self, request: bytes, sequence: int) -> Any:
        asked = img.ImageStatesWriteRequest.loads(request)
        if asked.hash is None or self.slots[1] is None or parse_image(self.slots[1]).digest != asked.hash:
            self.confirmed = self.confirmed or asked.confirm
        else:
            self.pending = True
        return img.ImageStatesWriteResponse(images=self._states(), splitStatus=0, sequence=sequence)

    def _upload(self, request: bytes, sequence: int) -> Any:
        asked = img.ImageUploadWriteRequest.loads(request)
        if asked.off == 0 and (asked.sha != self._sha or asked.len != self._length):
            self._sha, self._length, self.uploaded = asked.sha or b"", asked.len or 0, b""
            self.slots[1] = None
        if asked.off == len(self.uploaded):
            self.uploaded += asked.data
            if self.cut_at is not None and len(self.uploaded) >= self.cut_at:
                self.cut_at = None
                return None
        match = None
        if len(self.uploaded) == self._length:
            match = hashlib.sha256(self.uploaded).digest() == self._sha
            self.slots[1] = self.uploaded
        return img.ImageUploadWriteResponse(off=len(self.uploaded), match=match, sequence=sequence)

    def _reset(self, request: bytes, sequence: int) -> Any:
        self.boot()
        self.reconnect = True
        return osm.ResetWriteResponse(sequence=sequence)

    def _parameters(self, request: bytes, sequence: int) -> Any:
        return osm.MCUMgrParametersReadResponse(buf_size=BUFFER, buf_count=1, sequence=sequence)


class BoardOnALine:
    """SMP over console: base64 lines, on a pseudo-terminal that goes away and comes back when the board dies."""

    def __init__(self, board: Board, folder: Path) -> None:
        self.board, self.path = board, folder / "board"
        self._stop = threading.Event()
        self._plug()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path.symlink_to(os.ttyname(self._slave))

    def _unplug(self) -> None:
        self.path.unlink()
        os.close(self._master)
        os.close(self._slave)

    def _run(self) -> None:
        while self._live():
            self._unplug()
            self._plug()
        self._unplug()

    def _live(self) -> bool:
        """Serve until the board dies (True: the cable comes back a moment later) or nobody needs it any more."""
        lines, frame = b"", b""
        while not self._stop.is_set():
            if not select.select([self._master], [], [], 0.02)[0]:
                continue
            with suppress(OSError):
                lines += os.read(self._master, 4096)
            while b"\n" in lines:
                line, lines = lines.split(b"\n", 1)
                frame = (b"" if line[:2] == packet.START_DELIMITER else frame) + base64.b64decode(line[2:])
                if len(frame) >= 2 and len(frame) - 2 >= int.from_bytes(frame[:2], "big"):
                    if not self._answer(frame[2:-2]):
                        return True
                    frame = b""
        return False

    def _answer(self, request: bytes) -> bool:
        answer = self.board.handle(request)
        for line in packet.encode(answer) if answer is not None else ():
            os.write(self._master, line)
        return answer is not None


class SmpPeripheral(Peripheral):
    def __init__(self, air: Any, board: Board, name: str = "homeside-smp", **options: Any) -> None:
        super().__init__(air, name, **options)
        self.board = board
        self._heard = b""
        both = Characteristic.Properties.WRITE_WITHOUT_RESPONSE | NOTIFY
        self._smp = heard(CHARACTERISTIC, self._told, both)

    def services(self) -> list[Service]:
        return [Service(SERVICE, [self._smp])]

    def step(self) -> list[tuple[Characteristic, bytes]]:
        return []

    def left(self) -> None:
        self._heard = b""

    def _told(self, data: bytes) -> None:
        self._heard += data
        if len(self._heard) < 8 or len(self._heard) < 8 + smphdr.Header.loads(self._heard[:8]).length:
            return
        request, self._heard = self._heard, b""
        answer = self.board.handle(request)
        self.soon(self._say(answer))

    async def _say(self, answer: bytes | None) -> None:
        if answer is None or self.connection is None:
            await self.drop()
            return
        room = self.connection.att_mtu - 3
        for at in range(0, len(answer), room):
            await self.notify(self._smp, answer[at : at + room])
        if self.board.reconnect:
            self.board.reconnect = False
            await self.drop()
