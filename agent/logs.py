"""One line of JSON an event, on standard error. No samples and no names of people: ids of sessions and kits only."""

from __future__ import annotations

import logging
import sys
from collections import deque
from typing import Any

import structlog

KEPT = 300
recent: deque[dict[str, Any]] = deque(maxlen=KEPT)
"""The last events, for a diagnostics report."""


def configure(level: str) -> None:
    """structlog for our own events; other libraries' warnings go the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _keep, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
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
