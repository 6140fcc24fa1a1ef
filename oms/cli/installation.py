"""`oms installation`: which installation the databases belong to (M4)."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from uuid import UUID, uuid4

import typer
from rich.text import Text

from oms.cli import output, session
from oms.cli.options import AsJson, Yes, example, group
from oms.cli.whole import EMBEDDED

commands = group(
    "installation",
    "The identity by which installations that meet at a broker are told apart.",
    "oms installation show",
    "oms installation new --yes",
)


@commands.command("show", epilog=example("oms installation show"))
def show(as_json: AsJson = False) -> None:
    """Show the installation of each service's schema. All are to be the same.

    Works on the services' databases, or on what `oms run` keeps in this folder.
    """
    found = asyncio.run(_show())
    if as_json:
        output.show_json(found)
    else:
        rows = [(Text(service), output.plain(its)) for service, its in found.items()]
        output.show(output.table(("schema", "installation"), rows))


@commands.command("new", epilog=example("oms installation new --yes"))
def new(
    identity: Annotated[
        UUID | None, typer.Option("--id", metavar="UUID", help="This one. Default: one that never was.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make the databases a new installation, with all that is in them. For a copy of another installation.

    Stop all services before. Works on the services' databases, or on what `oms run` keeps in this folder.
    """
    its = identity or uuid4()
    session.confirm(f"all schemas of the databases named become installation {its}", yes)
    asyncio.run(_become(its))
    if as_json:
        output.show_json({"installation": str(its)})
    else:
        output.show(output.plain(f"installation {its}"))


async def _show() -> dict[str, Any]:
    from oms.identity import installations, member_urls
    from oms.settings import load_settings

    async with member_urls(load_settings(), EMBEDDED) as urls:
        found = await installations(urls)
    return {service: None if its is None else str(its) for service, its in found.items()}


async def _become(its: UUID) -> None:
    from oms.identity import become, member_urls
    from oms.settings import load_settings

    async with member_urls(load_settings(), EMBEDDED) as urls:
        await become(urls, its)
