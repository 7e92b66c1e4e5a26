"""The pages over HTTP, and the laws their files keep: one place for colours, nothing inline, nothing from elsewhere."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from relay.viewer.routes import ROOT, VENDORED, pages

STATIC = ROOT / "static"
OURS = sorted([*STATIC.iterdir(), *(ROOT / "pages").iterdir(), *(ROOT / "parts").iterdir()])
COLOUR = re.compile(r"#[0-9a-f]{3,8}\b|\b(?:rgba?|hsla?|oklch|lab|hwb)\(", re.IGNORECASE)
NAMED = re.compile(r":\s*(?:white|black|red|green|blue|gray|grey|yellow|orange)\b", re.IGNORECASE)


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """The viewer's folder with stand-ins of the vendored files, so that this needs no npm."""
    for name in ("pages", "parts", "static"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "vendor").mkdir()
    for name in VENDORED:
        (tmp_path / "vendor" / name).write_text(f"/* {name} */")
    return tmp_path


def client(root: Path) -> httpx.AsyncClient:
    app = FastAPI()
    app.include_router(pages(root))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://relay")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/view/4b8a7e8e-6cb3-4a0e-b0b4-6a2f6b3b7c11", "text/html; charset=utf-8"),
        ("/measure", "text/html; charset=utf-8"),
        ("/measure/4b8a7e8e-6cb3-4a0e-b0b4-6a2f6b3b7c11", "text/html; charset=utf-8"),
        ("/static/view.js", "text/javascript; charset=utf-8"),
        ("/static/tokens.css", "text/css; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
        ("/static/vendor/uPlot.esm.js", "text/javascript; charset=utf-8"),
        ("/static/vendor/uPlot.LICENSE", "text/plain; charset=utf-8"),
    ],
)
async def test_types_headers_and_caching(built: Path, path: str, kind: str) -> None:
    async with client(built) as http:
        found = await http.get(path)
        assert found.status_code == 200
        assert found.headers["content-type"] == kind
        assert found.headers["content-encoding"] == "gzip"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        policy = found.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        plain = await http.get(path, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == found.content
        again = await http.get(path, headers={"If-None-Match": f'"other", W/{found.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        changed = await http.get(path, headers={"If-None-Match": '"other"'})
        assert changed.status_code == 200
        head = await http.head(path)
        assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/static/", "/static/nothing.js", "/static/../routes.py", "/static/%2e%2e/routes.py", "/static/vendor/"],
)
async def test_only_the_viewers_own_files(built: Path, path: str) -> None:
    async with client(built) as http:
        found = await http.get(httpx.URL("http://relay").copy_with(raw_path=path.encode()))
        assert found.status_code == 404
        assert "def " not in found.text


async def test_missing_chart_library_is_said_with_its_remedy(built: Path) -> None:
    (built / "vendor" / "uPlot.esm.js").unlink()
    async with client(built) as http:
        assert (await http.get("/")).status_code == 200
        for path in ("/view/4b8a7e8e-6cb3-4a0e-b0b4-6a2f6b3b7c11", "/measure"):
            found = await http.get(path)
            assert found.status_code == 503
            assert "uPlot.esm.js" in found.text
            assert "make install" in found.text


async def test_pages_name_all_their_modules_at_once(built: Path) -> None:
    async with client(built) as http:
        for path in ("/", "/view/x", "/measure"):
            page = (await http.get(path)).text
            named = set(re.findall(r'modulepreload" href="([^"]+)"', page))
            needed = set(re.findall(r'type="module" src="([^"]+)"', page))
            for module in list(named):
                for imported in re.findall(r"from '([^']+)'", (await http.get(module)).text):
                    needed.add(imported.replace("./", "/static/"))
            assert named == needed
            assert ("/static/vendor/uPlot.esm.js" in named) == (path != "/")


async def test_pages_take_in_what_they_have_in_common(built: Path) -> None:
    """Said in one file each, and whole in every page that is served."""
    parts = {path.stem: path.read_text("utf-8") for path in (built / "parts").iterdir()}
    for path in (built / "pages").iterdir():
        text = path.read_text("utf-8")
        assert "<!-- part head -->" in text, path.name
        assert 'rel="icon"' not in text, f"{path.name} says itself what parts/head.html says"
        assert ('id="leave"' in text) == (path.name == "fleet.html"), path.name
    async with client(built) as http:
        for path in ("/", "/app/", "/app/patients", "/app/fleet", "/watch", "/measure", "/signing", "/timer/a"):
            page = (await http.get(path)).text
            assert parts["head"] in page
            assert page.startswith("<!doctype html>")
            assert "<!-- part" not in page
            assert (parts["carebar"] in page) == (path in ("/app/", "/app/patients"))


def test_packed_files_are_the_same_each_time(built: Path) -> None:
    body = (built / "static" / "view.js").read_bytes()
    assert gzip.compress(body, mtime=0) == gzip.compress(body, mtime=0)


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_colours_stand_in_one_file(path: Path) -> None:
    text = re.sub(r'(?:href|xlink:href)="#[^"]*"', "", path.read_text("utf-8"))
    if path.name == "tokens.css":
        assert len(COLOUR.findall(text)) > 25
        return
    text = re.sub(r"this\.#\w+|^\s*#\w+|\.#\w+", "", text, flags=re.MULTILINE) if path.suffix == ".js" else text
    text = re.sub(r"^\s*#[\w-]+[^{]*\{", "{", text, flags=re.MULTILINE) if path.suffix == ".css" else text
    assert COLOUR.findall(text) == []
    assert NAMED.findall(text) == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_inline_and_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://[a-z]", text) == []
    if path.suffix == ".html":
        assert re.findall(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\bsrc=)", text) == []
    if path.suffix == ".js":
        assert re.findall(r"\beval\(|new Function|\.innerHTML\s*=[^=]|insertAdjacentHTML|document\.write", text) == []


@pytest.mark.parametrize("path", [path for path in OURS if path.suffix == ".js"], ids=lambda path: path.name)
def test_modules_are_short_and_import_what_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("// ")
    assert len(text.splitlines()) <= 300
    for name in re.findall(r"from '\./([^']+)'", text):
        assert (STATIC / name).is_file()
