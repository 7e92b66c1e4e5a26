"""Migrates in a child that is killed (SIGKILL) before its n-th statement: `url number` in, what became of it out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from sqlalchemy import Engine, event, make_url

from relay.db.engine import migrate, open_engine


def _die_before(number: int) -> None:
    seen = 0

    def count(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", count)


def forked(url: str, number: int) -> str:
    child = os.fork()
    if child == 0:
        _die_before(number)
        asyncio.run(migrate(open_engine(make_url(url))))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else "done" if status == 0 else "failed"


def main() -> None:
    for line in sys.stdin:
        url, number = line.split()
        print(forked(url, int(number)), flush=True)


if __name__ == "__main__":
    main()
