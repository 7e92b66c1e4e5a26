"""One line of JSON per event, on standard error. No samples, names or tokens: only ids of sessions, and kits."""

from __future__ import annotations

import logging
import socket
import sys
from typing import Any

import structlog

from core.contracts.service import journal_entry

_QUIET = (
    "amqtt",
    "transitions",
    "mqtt",
    "aiomqtt",
    "alembic",
    "uvicorn.access",
    "uvicorn.error",
    "websockets",
)


def configure(level: str, journal: str | None = None) -> None:
    """Set up structlog for our events, sent to the `journal` if there is one, and for other libraries' warnings."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _entry if journal else structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=(lambda *_: Journal(journal)) if journal else structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


class Journal:
    """A logger that sends entries to journald; what fails goes to standard error, which the journal reads as well."""

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
    return journal_entry(event, "homeside-relay")
