"""The house's floors and laws, read from the source itself; and each law shown to find what it forbids.

A law that could not fail would be decoration: BAD holds small trees and the breaches that must be reported in them,
GOOD those that must pass.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.laws import floors, house, pages

Law = Callable[[Path], list[str]]
DOC = '"""A module."""\n'


class Sample(NamedTuple):
    """A tree in small: what each file holds, and how the findings begin (none for a good tree)."""

    law: Law
    files: dict[str, str]
    findings: tuple[str, ...] = ()


LAWS: tuple[Law, ...] = (
    floors.floors,
    floors.purity,
    floors.rooms,
    floors.database,
    house.construction,
    house.environment,
    house.names,
    house.broad_except,
    house.docstrings,
    house.length,
    pages.colours,
    pages.loads,
)

BAD = (
    Sample(floors.floors, {"core/a.py": "import agent.uplink\n"}, ("core/a.py:1:",)),
    Sample(floors.floors, {"relay/bus.py": "\ndef f():\n    from agent import outbox\n"}, ("relay/bus.py:3:",)),
    Sample(
        floors.floors,
        {"agent/a.py": "from importlib import import_module\nimport_module('relay.bus')\n"},
        ("agent/a.py:2:",),
    ),
    Sample(floors.floors, {"relay/main.py": "from agent.vision import pose\n"}, ("relay/main.py:1:",)),
    Sample(
        floors.floors, {"relay/scg/routes.py": "from agent.vision.hands import detect\n"}, ("relay/scg/routes.py:1:",)
    ),
    Sample(floors.floors, {"provisioning/demo.py": "from relay.main import Relay\n"}, ("provisioning/demo.py:1:",)),
    Sample(
        floors.purity, {"core/a.py": "import asyncio\nfrom time import monotonic\n"}, ("core/a.py:1:", "core/a.py:2:")
    ),
    Sample(floors.purity, {"firmware_bridge/a.py": "def f(p):\n    return open(p)\n"}, ("firmware_bridge/a.py:2:",)),
    Sample(floors.purity, {"core/a.py": "import datetime\nx = datetime.datetime.now()\n"}, ("core/a.py:2:",)),
    Sample(floors.purity, {"relay/timers/rules.py": "import time\n"}, ("relay/timers/rules.py:1:",)),
    Sample(
        floors.purity,
        {"relay/timers/rules.py": "from relay.timers.turns import begin\n", "relay/timers/turns.py": "import time\n"},
        ("relay/timers/turns.py:1:",),
    ),
    Sample(floors.rooms, {"relay/scg/routes.py": "from sqlalchemy import select\n"}, ("relay/scg/routes.py:1:",)),
    Sample(
        floors.rooms,
        {"relay/scg/service.py": "import fastapi\nimport sqlalchemy\n"},
        ("relay/scg/service.py:1:", "relay/scg/service.py:2:"),
    ),
    Sample(floors.rooms, {"relay/scg/rules.py": "from .store import Store\n"}, ("relay/scg/rules.py:1:",)),
    Sample(floors.rooms, {"relay/video/gateway.py": "from relay.db import models\n"}, ("relay/video/gateway.py:1:",)),
    Sample(
        floors.rooms, {"relay/signs/store.py": "from starlette.requests import Request\n"}, ("relay/signs/store.py:1:",)
    ),
    Sample(floors.database, {"relay/access.py": "from sqlalchemy import text\n"}, ("relay/access.py:1:",)),
    Sample(
        house.construction,
        {
            "relay/bus.py": "class Bus:\n    async def close(self): ...\n",
            "relay/scg/service.py": "from relay.bus import Bus\n\ndef f():\n    return Bus()\n",
        },
        ("relay/scg/service.py:4:",),
    ),
    Sample(
        house.construction,
        {
            "agent/uplink/mqtt.py": "class Up:\n    async def run(self): ...\n",
            "agent/a.py": "from agent.uplink import mqtt\n\ndef f():\n    return mqtt.Up()\n",
        },
        ("agent/a.py:4:",),
    ),
    Sample(
        house.construction,
        {"relay/main.py": "class Bus:\n    def stop(self): ...\n\nBUS = Bus()\n"},
        ("relay/main.py:4:",),
    ),
    Sample(house.environment, {"agent/app.py": "import os\nhost = os.environ['HOST']\n"}, ("agent/app.py:2:",)),
    Sample(house.environment, {"relay/tls.py": "from os import getenv\n"}, ("relay/tls.py:1:",)),
    Sample(
        house.environment,
        {"relay/a.py": "import tomllib\nfrom pydantic_settings import BaseSettings\n"},
        ("relay/a.py:1:", "relay/a.py:2:"),
    ),
    Sample(house.names, {"core/utils.py": DOC, "agent/common/a.py": DOC}, ("agent/common/a.py:1:", "core/utils.py:1:")),
    Sample(house.broad_except, {"agent/a.py": "try:\n    f()\nexcept Exception:\n    pass\n"}, ("agent/a.py:3:",)),
    Sample(
        house.broad_except,
        {"agent/a.py": "try:\n    f()\nexcept (ValueError, BaseException):\n    pass\n"},
        ("agent/a.py:3:",),
    ),
    Sample(house.broad_except, {"agent/a.py": "try:\n    f()\nexcept:\n    pass\n"}, ("agent/a.py:3:",)),
    Sample(house.broad_except, {"relay/a.py": "with contextlib.suppress(Exception):\n    f()\n"}, ("relay/a.py:1:",)),
    Sample(
        house.docstrings,
        {"relay/scg/__init__.py": "", "core/x.py": "x = 1\n"},
        ("core/x.py:1:", "relay/scg/__init__.py:1:"),
    ),
    Sample(house.length, {"relay/viewer/static/chart.js": "a;\n" * 401}, ("relay/viewer/static/chart.js:401:",)),
    Sample(pages.colours, {"relay/viewer/page.css": "a {\n  color: #fff;\n}\n"}, ("relay/viewer/page.css:2:",)),
    Sample(pages.colours, {"relay/viewer/page.css": "a{border:1px solid red}"}, ("relay/viewer/page.css:1:",)),
    Sample(pages.colours, {"relay/viewer/page.css": "a { fill: rgb(1 2 3 / .5); }"}, ("relay/viewer/page.css:1:",)),
    Sample(pages.colours, {"relay/viewer/chart.js": "\nink.strokeStyle = '#1a2b3c';\n"}, ("relay/viewer/chart.js:2:",)),
    Sample(pages.colours, {"relay/viewer/chart.js": 'ink.fillStyle = "white";'}, ("relay/viewer/chart.js:1:",)),
    Sample(pages.colours, {"relay/viewer/a.html": "<p style='color: teal'>"}, ("relay/viewer/a.html:1:",)),
    Sample(
        pages.loads, {"relay/viewer/a.html": "<link href='https://fonts.example/a.css'>"}, ("relay/viewer/a.html:1:",)
    ),
    Sample(pages.loads, {"relay/viewer/a.css": "\n@import url(//cdn.example/a.css);"}, ("relay/viewer/a.css:2:",)),
    Sample(pages.loads, {"relay/viewer/a.js": "import x from 'https://cdn.example/x.js'"}, ("relay/viewer/a.js:1:",)),
)

GOOD = (
    Sample(
        floors.floors,
        {"relay/main.py": "from agent.vision.hands import detect\n", "agent/a.py": "import core.signals\n"},
    ),
    Sample(floors.floors, {"relay/scg/routes.py": "from . import service\nfrom ..bus import Bus\n"}),
    Sample(floors.purity, {"firmware_bridge/reference/a.py": "import time\n"}),
    Sample(floors.purity, {"core/a.py": "from datetime import datetime, UTC\nx = datetime.fromtimestamp(0, UTC)\n"}),
    Sample(floors.rooms, {"relay/scg/store.py": "import sqlalchemy\n", "relay/scg/routes.py": "import fastapi\n"}),
    Sample(
        floors.database, {"relay/db/engine.py": "import sqlalchemy\n", "relay/main.py": "from relay.db import engine\n"}
    ),
    Sample(
        house.construction,
        {
            "agent/a.py": "class A:\n    def start(self): ...\n\ndef again():\n    return A()\n",
            "agent/app.py": "from agent.a import A\n\ndef make():\n    return A()\n",
            "agent/b.py": "from core.x import Frame\n\nEMPTY = Frame()\n",
        },
    ),
    Sample(
        house.environment,
        {"agent/settings.py": "import os\nx = os.environ\n", "agent/a.py": "import os\nx = os.fsync\n"},
    ),
    Sample(house.names, {"core/signals/clock.py": DOC}),
    Sample(house.broad_except, {"agent/a.py": "try:\n    f()\nexcept BaseException:\n    undo()\n    raise\n"}),
    Sample(house.broad_except, {"agent/supervisor.py": "try:\n    f()\nexcept Exception:\n    log()\n"}),
    Sample(house.docstrings, {"core/a.py": DOC}),
    Sample(house.length, {"core/a.py": "a = 1\n" * 400}),
    Sample(
        pages.colours,
        {
            "relay/viewer/tokens.css": ":root { --ink: #112233; }",
            "relay/viewer/page.css": "#add:hover a { color: var(--red-ink); white-space: nowrap } /* red: #f00; */",
            "relay/viewer/a.js": "el.className = 'grey-ink'; go('#main'); draw(x, 'currentColor')",
            "relay/viewer/vendor/uPlot.min.css": "a{color:#000}",
        },
    ),
    Sample(
        pages.loads,
        {"relay/viewer/a.js": "const SVG = 'http://www.w3.org/2000/svg'; // https://example\nlet a = b / c;"},
    ),
)


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_house_keeps(law: Law, repo_root: Path) -> None:
    assert law(repo_root) == []


@pytest.mark.parametrize("sample", BAD, ids=lambda sample: f"{sample.law.__name__}-{'-'.join(sample.files)}")
def test_a_breach_is_found(sample: Sample, tmp_path: Path) -> None:
    findings = sample.law(lay_out(tmp_path, sample.files))
    assert len(findings) == len(sample.findings), findings
    assert all(found.startswith(start) for found, start in zip(findings, sample.findings, strict=True)), findings


@pytest.mark.parametrize("sample", GOOD, ids=lambda sample: f"{sample.law.__name__}-{'-'.join(sample.files)}")
def test_what_is_allowed_passes(sample: Sample, tmp_path: Path) -> None:
    assert sample.law(lay_out(tmp_path, sample.files)) == []


def test_every_law_is_shown_both_ways() -> None:
    assert {sample.law for sample in BAD} == set(LAWS) == {sample.law for sample in GOOD}
