"""`oms orphans`: what is held for orders that are gone, as after a restore, and taking it back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer
from rich.text import Text

from oms.cli import output, session
from oms.cli.options import AsJson, Yes, actor, example, group
from oms.cli.whole import EMBEDDED
from oms.failures import Failure

if TYPE_CHECKING:
    from oms.audit.orphans import Orphan, Orphans, Undoing
    from oms.settings import Settings

SHOWN_AT_MOST: Final = 200
"""Orders that are shown to people; programs get all."""

commands = group(
    "orphans",
    "What participants and providers hold for orders that are gone, as after a restore.",
    "oms orphans list",
    'oms orphans take-back --reason "orchestrator restored to 12:00" --yes',
)


@commands.command("list", epilog=example("oms orphans list", "oms orphans list --json"))
def list_orphans(as_json: AsJson = False) -> None:
    """List reservations, charges and parcels of orders that the orchestrator does not know, and whatever
    installed participants hold for sagas that are gone. Changes nothing.

    Reads the same databases as `oms audit`, and as that one exits with 1 when there are any. Only what is
    above the low-water mark is looked at.
    """
    from oms.audit.installed import undoing_of
    from oms.settings import load_settings

    settings = load_settings()
    found = asyncio.run(_found(settings, undoing_of(settings)))
    if as_json:
        output.show_json(found.as_json())
    else:
        _show(found)
    if not found.none:
        raise typer.Exit(1)


@commands.command(
    "take-back", epilog=example('oms orphans take-back --reason "orchestrator restored to 12:00" --yes')
)
def take_back(
    reason: Annotated[
        str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; kept in the audit log.")
    ],
    saga: Annotated[
        list[UUID] | None,
        typer.Option(
            "--saga",
            metavar="SAGA_ID",
            help="Only this one, also where it says `by hand`: no parcel will arrive, as you know, or the "
            "money is to go back all the same. May be repeated.",
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have participants release and give back what they hold for orders that are gone and were not shipped.

    Orders whose parcel has left, or may have, are a person's to decide and left alone. Refused while commands
    wait in the participants' queues. The orchestrator sends what is asked here, and the participants answer
    from their ledgers: it may be repeated, and `oms orphans list` shows what is still held.

    Works on OMS_BROKER_URL and OMS_ORCHESTRATOR_DATABASE_URL (or OMS_DATABASE_URL), or on what `oms run`
    keeps in this folder, and reads the databases that `oms orphans list` reads.
    """
    from oms.audit.installed import undoing_of
    from oms.orphans import check_nothing_under_way, orphan_operations
    from oms.orphans import take_back as have_taken_back
    from oms.settings import load_settings

    settings, by = load_settings(), actor(reason)
    undoing = undoing_of(settings)

    async def run() -> tuple[int, int]:
        if settings.broker_url:
            await check_nothing_under_way(settings, undoing)
        found = (await _found(settings, undoing)).found
        wanted = _chosen(found, saga)
        if not wanted:
            return 0, len(found)
        session.confirm(f"what is held for {len(wanted):,} orders is released and given back", yes)
        async with orphan_operations(settings, EMBEDDED) as operations:
            return await have_taken_back(operations, wanted, by, undoing), len(found) - len(wanted)

    asked, left = asyncio.run(run())
    if as_json:
        output.show_json({"asked": asked, "left": left})
    else:
        output.show(output.plain(f"participants are asked to undo {asked:,} orders; {left:,} more are held"))


def _chosen(found: Sequence[Orphan], sagas: Sequence[UUID] | None) -> list[Orphan]:
    """Those that were named; else those that need no person."""
    if not sagas:
        return [orphan for orphan in found if orphan.remedy.value == "take_back"]
    known = {orphan.saga_id: orphan for orphan in found}
    if unknown := [str(each) for each in sagas if each not in known]:
        raise Failure(f"nothing is held for {', '.join(unknown)}: see `oms orphans list`")
    return [known[each] for each in dict.fromkeys(sagas)]


async def _found(settings: Settings, undoing: Undoing) -> Orphans:
    from oms.audit import sources_or_embedded
    from oms.audit.orphans import find_orphans
    from oms.audit.sources import Installed

    async with sources_or_embedded(settings, EMBEDDED, Installed(tuple(undoing))) as sources:
        return await find_orphans(sources, undoing)


def _show(found: Orphans) -> None:
    if found.none:
        output.show(Text("✔ nothing is held for orders that are gone", style="bold green"))
        return
    rows = [_row(orphan) for orphan in found.found[:SHOWN_AT_MOST]]
    output.show(output.table(("order", "saga", "what to do", "held"), rows, "held for orders that are gone"))
    if len(found.found) > SHOWN_AT_MOST:
        output.note(f"... and {len(found.found) - SHOWN_AT_MOST} more (--json lists them)")
    for each in found.provider_only[:SHOWN_AT_MOST]:
        held = [*each.charges, *(f"parcel {key}" for key in each.parcels)]
        output.note(f"order {each.order_id} is in the provider's books alone: {'; '.join(held)}")
    if not found.books_read:
        output.note("no provider's books could be read: compare the provider's own list with the ledgers")
    output.show(Text(f"✘ {_summed(found)}", style="bold red"))


def _row(orphan: Orphan) -> tuple[Text, ...]:
    by_hand = orphan.remedy.value == "by_hand"
    todo = Text("by hand", style="magenta") if by_hand else Text("take-back", style="cyan")
    held = output.plain("; ".join(str(each) for each in orphan.held))
    return (output.plain(str(orphan.order_id)), output.plain(str(orphan.saga_id)), todo, held)


def _summed(found: Orphans) -> str:
    from contracts.currencies import format_amount

    sums = found.sums()
    money = ", ".join(format_amount(amount, currency) for currency, amount in sums["charged"].items())
    aside = ", ".join(format_amount(amount, currency) for currency, amount in sums["authorized"].items())
    authorized = f"{aside} authorized, " if aside else ""
    pieces = sum(sums["reserved"].values())
    reduced = sum(sums["reduced"].values())
    orders = len(found.found) + len(found.provider_only)
    return (
        f"{orders:,} orders: {pieces:,} pieces reserved, {reduced:,} taken from stock, "
        f"{money or 'nothing'} charged, {authorized}{sums['parcels']:,} parcels; "
        f"{sums['in_doubt']:,} calls to providers without an answer"
    )
