"""A sensor and its recorder. Each of a kit's sensors has sessions of its own; the first is the main one."""

from __future__ import annotations

from typing import NamedTuple

from agent.recorder import Recorder
from agent.sources import Source


class Channel(NamedTuple):
    source: Source
    recorder: Recorder
