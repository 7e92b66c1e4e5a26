"""A person's own letters: hand landmarks stored for the user, from which the network's last layer is refitted when
needed.

Landmarks are stored, not weights, so that a better letter model can later be refitted from the same pictures.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.contracts.signs import Calibrated, Calibration
from core.fingerspelling.calibration import refit
from core.fingerspelling.features import features
from core.fingerspelling.hand import Floats, normalise
from core.fingerspelling.letters import STATIC, LetterReader, Network
from relay.errors import NotFound

REMEMBERED = 200


class Kept(Protocol):
    """Where calibrations are stored: normalised hands float16[n, 21, 3] and letter indices uint8[n]."""

    async def calibration(self, owner: str, name: str) -> tuple[bytes, bytes, bool] | None: ...
    async def keep(self, owner: str, name: str, hands: bytes, labels: bytes, *, has_z: bool) -> None: ...
    async def forget(self, owner: str, name: str) -> bool: ...


class Calibrations:
    """Calibrations by owner and by the name the owner gave."""

    def __init__(self, kept: Kept, network: Network) -> None:
        self._kept = kept
        self._network = network
        self._readers: OrderedDict[tuple[str, str], LetterReader] = OrderedDict()

    async def save(self, owner: str | None, name: str, given: Calibration) -> Calibrated:
        """Store the landmarks and refit at once, so that the reader is ready when the person starts signing."""
        hands, labels = _rows(given)
        has_z = all(len(point) > 2 for frames in given.letters.values() for frame in frames for point in frame)
        key = (owner or "", name)
        reader = await asyncio.to_thread(_fitted, self._network, hands, labels, has_z)
        packed = hands.astype("<f2").tobytes(), labels.astype(np.uint8).tobytes()
        await self._kept.keep(*key, *packed, has_z=has_z)
        self._remember(key, reader)
        return Calibrated(name=name, letters=sorted(given.letters), frames=len(labels))

    async def reader(self, owner: str | None, name: str) -> LetterReader:
        """The reader refitted to this calibration. Raises NotFound if there is none."""
        key = (owner or "", name)
        if key not in self._readers:
            found = await self._kept.calibration(*key)
            if found is None:
                raise NotFound(f"There is no calibration {name[:40]!r}.")
            hands = np.frombuffer(found[0], "<f2").reshape(-1, 21, 3).astype(np.float32)
            labels = np.frombuffer(found[1], np.uint8).astype(np.int64)
            self._remember(key, await asyncio.to_thread(_fitted, self._network, hands, labels, found[2]))
        return self._readers[key]

    async def forget(self, owner: str | None, name: str) -> None:
        """Delete a calibration. Raises NotFound if there is none."""
        self._readers.pop((owner or "", name), None)
        if not await self._kept.forget(owner or "", name):
            raise NotFound(f"There is no calibration {name[:40]!r}.")

    def _remember(self, key: tuple[str, str], reader: LetterReader) -> None:
        self._readers[key] = reader
        self._readers.move_to_end(key)
        while len(self._readers) > REMEMBERED:
            self._readers.popitem(last=False)


def _rows(given: Calibration) -> tuple[Floats, NDArray[np.int64]]:
    frames = [np.asarray(frame, np.float32) for shown in given.letters.values() for frame in shown]
    hands = np.stack([normalise(one, aspect=given.aspect, mirror=given.right) for one in frames])
    labels = [STATIC.index(letter) for letter, shown in given.letters.items() for _ in shown]
    return hands, np.asarray(labels, np.int64)


def _fitted(network: Network, hands: Floats, labels: NDArray[np.int64], has_z: bool) -> LetterReader:
    return LetterReader(network, refit(network, network.embed(features(hands, has_z=has_z)), labels))
