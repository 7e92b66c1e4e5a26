"""The process that looks at pictures: killed, hung, swollen, without a network; and alive again each time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from agent.errors import ModelsMissing, VisionLost
from agent.process.backoff import Backoff
from agent.process.supervisor import supervise
from agent.sections import Vision
from agent.sources.slot import Frame, Slot
from agent.vision.app import RETRY_S
from agent.vision.eyes import Eyes, Seen
from tests.agent.vision.pictures import odd_pictures, photographs, pictures
from tests.waiting import PATIENCE_S, comes


class Bench:
    """Eyes that look at pictures put before them one after the other."""

    def __init__(self, **settings: object) -> None:
        self.slot, self.seen, self.told = Slot(), list[Seen](), list[str]()
        self.eyes = Eyes(Vision(mode="pose", fps=60, **settings), self.slot, self.seen.append)  # type: ignore[arg-type]
        self.pids: list[int] = []
        self._number = 0

    async def until(self, there: Callable[[], object], what: str) -> None:
        await comes(there, lambda: f"{what}; {self.eyes.figures()}; {self.told}")

    async def show(self, image: np.ndarray, at_ms: float | None = None) -> Seen:  # type: ignore[type-arg]
        self._number += 1
        taken_ns = asyncio.get_running_loop().time() * 1e9 if at_ms is None else at_ms * 1e6
        self.slot.put(Frame(image, int(taken_ns), self._number))
        wanted = self._number
        await self.until(lambda: self.seen and self.seen[-1].frame.number == wanted, f"picture {wanted}")
        return self.seen[-1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Bench]:
        kept = {"troubled": self.told.append, "fatal": ModelsMissing, "progress": lambda: self.eyes.looked}
        supervised = asyncio.create_task(supervise("vision", self.eyes.run, Backoff(*RETRY_S), **kept))  # type: ignore[arg-type]
        try:
            yield self
        finally:
            supervised.cancel()
            await asyncio.gather(supervised, return_exceptions=True)


def names(folder: str) -> list[str]:
    """All but what other programs of this machine share by files of their own name."""
    return sorted(path.name for path in Path(folder).iterdir() if not path.name.startswith("PostgreSQL"))


def children() -> list[int]:
    """This process's own, running or waiting to be buried."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in found if b"agent.vision.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def zombies() -> list[str]:
    found = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        found += [pid] if state == "Z" else []
    return found


async def test_poses_and_hands_by_turns_each_with_its_own_model(data_dir: Path) -> None:
    squat = next(pictures(data_dir / "motion" / "squat_side_360x640.mp4"))
    hand = photographs(data_dir)["rock_026fd791.jpg"]
    bench = Bench()
    async with bench.running():
        seen = await bench.show(squat)
        assert seen.pose is not None
        assert seen.pose.landmarks.shape == (33, 3)
        assert seen.hands == []
        bench.eyes.mode = "hands"
        assert (await bench.show(hand)).hands[0].handedness == "Right"
        for image in odd_pictures().values():
            if max(image.shape) <= 1920:
                assert (await bench.show(image)).hands == []
        figures = bench.eyes.figures()
        assert figures["starts"] == 1
        assert figures["looked"] == bench.eyes.looked == len(bench.seen)
        bench.eyes.mode = None
        bench.slot.put(Frame(hand, 0, 10_000))
        await asyncio.sleep(0.2)
        assert bench.seen[-1].frame.number < 10_000
    assert children() == []


async def kill_again_and_again(times: int, image: np.ndarray) -> None:  # type: ignore[type-arg]
    before = len(names("/proc/self/fd"))
    shared = names("/dev/shm")
    bench = Bench(model="lite")
    async with bench.running():
        for turn in range(1, times + 1):
            assert (await bench.show(image)).pose is not None
            os.kill(children()[0], signal.SIGKILL if turn % 2 else signal.SIGSEGV)
            await bench.until(lambda turn=turn: bench.eyes.starts > turn, "a new process")
        assert (await bench.show(image)).pose is not None
        assert zombies() == []
        assert len(children()) == 1
    assert bench.eyes.starts == times + 1
    assert children() == []
    assert names("/dev/shm") == shared
    assert len(names("/proc/self/fd")) <= before + 2


async def test_killed_ten_times_it_looks_again_and_leaves_nothing_behind(data_dir: Path) -> None:
    await kill_again_and_again(10, next(pictures(data_dir / "motion" / "squat_side_360x640.mp4")))


@pytest.mark.soak
async def test_killed_a_hundred_times(data_dir: Path) -> None:
    await kill_again_and_again(100, next(pictures(data_dir / "motion" / "squat_side_360x640.mp4")))


async def test_one_that_hangs_is_replaced(data_dir: Path) -> None:
    squat = next(pictures(data_dir / "motion" / "squat_side_360x640.mp4"))
    bench = Bench(hang_s=1.0)
    async with bench.running():
        await bench.show(squat)
        os.kill(children()[0], signal.SIGSTOP)
        bench.slot.put(Frame(squat, 0, 1000))
        await bench.until(lambda: any("hangs" in text for text in bench.told), "the hang")
        bench._number = 1000
        assert (await bench.show(squat)).pose is not None
        assert bench.eyes.starts == 2


async def test_one_that_swells_is_replaced_without_a_word_of_trouble(data_dir: Path) -> None:
    squat = next(pictures(data_dir / "motion" / "squat_side_360x640.mp4"))
    bench = Bench(memory_bytes=64 << 20)
    async with bench.running():
        for turn in range(1, 4):
            await bench.show(squat)
            await bench.until(lambda turn=turn: bench.eyes.starts > turn, "a new process")
        assert bench.told == []
    assert bench.eyes.recycled == 3
    assert children() == []


async def test_without_its_models_it_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = tmp_path / "sitecustomize.py"
    nothing.write_text(
        "import agent.vision.weights as w, pathlib\nw.Models.__init__.__defaults__ = (pathlib.Path('/nonexistent'),)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    bench = Bench()
    running = asyncio.create_task(bench.eyes.run())
    bench.slot.put(Frame(odd_pictures()["black"], 0, 1))
    with pytest.raises(ModelsMissing, match="make models"):
        await asyncio.wait_for(running, PATIENCE_S)


async def test_what_is_no_answer_is_trouble_not_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    bench = Bench()
    with pytest.raises(VisionLost, match="ended by itself"):
        await bench.eyes.run()


PROBE = """
import socket, sys
from agent.vision import sandbox
if sys.argv[1] == "closed":
    sandbox.close_network()
port = int(sys.argv[2])
reached = []
def attempt(name, work):
    try:
        work()
        reached.append(name)
    except OSError:
        pass
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", ("127.0.0.1", port))
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", port), 5).close())
attempt("udp", udp)
attempt("raw", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close())
attempt("unix", lambda: socket.socket(socket.AF_UNIX).close())
attempt("name", lambda: socket.getaddrinfo("localhost", port))
import subprocess
child = "import socket,sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"
done = subprocess.run([sys.executable, "-c", child, str(port)], stderr=subprocess.DEVNULL)
reached += ["child"] * (done.returncode == 0)
import threading
connect = lambda: socket.create_connection(("127.0.0.1", port), 5).close()
thread = threading.Thread(target=attempt, args=("thread", connect))
thread.start()
thread.join()
print(",".join(reached))
"""


def test_no_library_in_it_can_reach_a_network(repo_root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])

        def reached(how: str) -> set[str]:
            words = [sys.executable, "-c", PROBE, how, port]
            done = subprocess.run(words, cwd=repo_root, capture_output=True, text=True, check=True)
            return set(done.stdout.strip().split(",")) - {""}

        assert {"tcp", "udp", "unix", "child", "thread"} <= reached("open"), "the probe itself works"
        assert reached("closed") <= {"name"}, "localhost may be read from a file"


async def test_the_process_that_looks_has_its_network_closed(data_dir: Path) -> None:
    """What the kernel says of the very process: a filter is set, no new privileges, and it looks all the same."""
    bench = Bench(backend="mediapipe", model="lite")
    async with bench.running():
        seen = await bench.show(next(pictures(data_dir / "motion" / "squat_side_360x640.mp4")))
        assert seen.pose is not None
        status = Path(f"/proc/{children()[0]}/status").read_text()
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status
        opened = [str(fd.readlink()) for fd in Path(f"/proc/{children()[0]}/fd").iterdir()]
        assert len([link for link in opened if link.startswith("socket:")]) == 1
