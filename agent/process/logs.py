"""One line of JSON per event, on standard error. No samples and no names of people, only ids of sessions and kits."""

from __future__ import annotations

import logging
import socket
import sys
from collections import deque
from typing import Any

import structlog

from core.contracts.service import journal_entry

KEPT = 300
recent: deque[dict[str, Any]] = deque(maxlen=KEPT)
"""The latest events, for a diagnostics report."""


def configure(level: str, journal: str | None = None) -> None:
    """Set up structlog, with fields to the `journal` if there is one; warnings of other libraries are
    logged as well.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _keep, _entry if journal else structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=(lambda *_: Journal(journal)) if journal else structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    render: list[structlog.typing.Processor] = [remove, structlog.processors.JSONRenderer()]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=render))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _keep(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    recent.append(dict(event))
    return event


class Journal:
    """A logger that sends entries to journald; what journald cannot take goes to standard error, which it reads as
    well.
    """

    def __init__(self, address: str) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = address

    def msg(self, entry: bytes) -> None:
        try:
            self._line.sendto(entry, self._address)
        except OSError:
            sys.stderr.write(entry.decode("utf-8", "replace"))

    debug = info = warning = error = critical = exception = msg


def _entry(_logger: Any, _method: str, event: structlog.typing.EventDict) -> bytes:
    return journal_entry(event, "homeside-agent")
