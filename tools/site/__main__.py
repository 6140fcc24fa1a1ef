"""`make docs`: the site below `.oms/docs/site`, a folder a version; ends with 1 when a link leads nowhere."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import httpx
from pydantic import SecretStr

from contracts.documents import documents
from oms.embedded.child import ServerError
from oms.processes import stack
from oms.settings import load_settings
from tools.benchmarks.environment import PROJECT, Environment, NoEnvironment
from tools.nodejs import find_node
from tools.site.kit import kit_page
from tools.site.nav import settings_text
from tools.site.pages import write_pages

WRITERS: Final = Environment("docs")
FOLDER: Final = PROJECT / ".oms/docs"
SITE: Final = FOLDER / "site"


def main() -> int:
    """Build, and serve if that is asked for."""
    asked = _asked()
    try:
        WRITERS.make()
        build(version("oms-saga-orchestrator"))
    except (NoEnvironment, ServerError) as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        return 1
    print(f"docs: {SITE / 'index.html'}")
    if asked.serve is not None:
        serve(asked.serve)
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.site", description=__doc__, epilog="Example: python -m tools.site --serve 8001"
    )
    parser.add_argument("--serve", type=int, metavar="PORT", help="then serve it on loopback until Ctrl-C")
    return parser.parse_args()


def build(version: str) -> None:
    """Make the site of one version, beside those of others.

    Raises:
        subprocess.CalledProcessError: a page or a link is wrong; what is wrong has been printed.
        ServerError: no Node.js, or no PostgreSQL for the API's own description.
    """
    pages = FOLDER / "pages"
    write_pages(PROJECT, pages)
    _write_references(pages / "reference")
    (pages / "assets").mkdir()
    installed = find_node().installed(PROJECT / "tools/site/browser")
    shutil.copy(installed / "node_modules/mermaid/dist/mermaid.min.js", pages / "assets")
    settings = FOLDER / "mkdocs.yml"
    settings.write_text(settings_text(pages, SITE / version, version))
    mkdocs = [WRITERS.python, "-m", "mkdocs", "build", "--quiet", "--strict", "--clean", "-f", str(settings)]
    subprocess.run(mkdocs, check=True, cwd=PROJECT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    _list_versions()


def _write_references(folder: Path) -> None:
    folder.mkdir()
    (folder / "openapi.json").write_text(json.dumps(asyncio.run(_openapi())))
    (folder / "http.md").write_text('# HTTP API\n\n<swagger-ui src="openapi.json"/>\n')
    (folder / "asyncapi.json").write_text(json.dumps(dict(documents())["asyncapi.json"], indent=2))
    (folder / "messages.md").write_text(
        "# Messages\n\nEvery command and event as AsyncAPI 3: [asyncapi.json](asyncapi.json). "
        "What becomes of them at the broker: [exchanges and queues](../broker.md).\n"
    )
    (folder / "kit.md").write_text(kit_page())


async def _openapi() -> object:
    """What the API says of itself, asked for on loopback."""
    token = SecretStr("documentation")
    settings = load_settings(admin_token=token, orders_open="yes")
    with TemporaryDirectory(prefix="oms-docs-") as folder:
        async with stack(settings, "127.0.0.1", 0, Path(folder)) as running, httpx.AsyncClient() as client:
            return (await client.get(f"{running.api_url}/openapi.json")).raise_for_status().json()


def _list_versions() -> None:
    """The list that the pages' own menu of versions reads, and a way to the newest."""
    found = sorted((path.name for path in SITE.iterdir() if path.is_dir()), key=_numbers, reverse=True)
    versions = [{"version": each, "title": each, "aliases": []} for each in found]
    (SITE / "versions.json").write_text(json.dumps(versions))
    (SITE / "index.html").write_text(f'<meta http-equiv="refresh" content="0; url={found[0]}/">\n')


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in version.replace("-", ".").split(".")]


def serve(port: int) -> None:
    """The site on loopback until Ctrl-C."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"docs: http://127.0.0.1:{server.server_port}/")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
