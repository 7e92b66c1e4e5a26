"""Enrols or renews in a child that is killed (SIGKILL) just before its n-th act on the disk or the network.

Lines of JSON in, `killed`, `done` or `failed` out. Python tells of every open, rename, removal, folder and connection
before it happens (PEP 578); nothing of ours is replaced.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from agent.identity.enrol import Invitation, enrol, renew
from agent.identity.exchange import Exchange, trusting
from agent.identity.folder import IdentityFolder

ACTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "socket.connect"})


def act(verb: str, state: Path, said: dict[str, str]) -> None:
    folder = IdentityFolder(state)
    if verb == "enrol":
        enrol(folder, Invitation(said["kit"], said["relay"], said["claim"], said["fingerprint"]))
    else:
        renew(folder, Exchange(said["relay"], trusting(folder.authority.read_text())))


def die_before(number: int, state: Path) -> None:
    """From now on; `number` 0 never."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in ACTS and (event == "socket.connect" or str(arguments[0]).startswith(str(state))):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def forked(verb: str, state: Path, said: dict[str, str], number: int) -> str:
    child = os.fork()
    if child == 0:
        die_before(number, state)
        act(verb, state, said)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return "killed"
    return "done" if os.waitstatus_to_exitcode(status) == 0 else "failed"


def main() -> None:
    """Lines of `verb state number invitation` in, a line of what became of it out."""
    for line in sys.stdin:
        verb, state, number, said = json.loads(line)
        print(forked(verb, Path(state), said, number), flush=True)


if __name__ == "__main__":
    main()
