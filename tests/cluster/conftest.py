from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.disturbances import Wallclocks
from tests.cluster.program import ClusterProgram


@pytest.fixture(scope="session")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Wallclocks:
    """The wall clocks of the cluster's programs."""
    return Wallclocks(tmp_path_factory.mktemp("clocks"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, clocks: Wallclocks) -> Iterator[ClusterProgram]:
    """One cluster for all of this folder; a test that breaks something waits until it is whole again."""
    program = ClusterProgram(Path(tmp_path_factory.mktemp("cluster")), clocks)
    yield program
    assert program.stop() == 0, program.child.tail()
