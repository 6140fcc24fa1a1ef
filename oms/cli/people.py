"""`oms people`: who signs in at the company's own provider. Works on the orchestrator's database itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from oms.cli import output
from oms.cli.options import AsJson, actor, example, group
from oms.cli.tokens import NO_REASON, WhyOption, said_role
from oms.cli.whole import EMBEDDED
from oms.failures import Failure

if TYPE_CHECKING:
    from orchestrator.people import People, Person

T = TypeVar("T")

commands = group(
    "people",
    "People who have signed in at the company's own provider.",
    "oms people list",
    'oms people sign-out 8f2c --reason "has left"',
)


@commands.command("list", epilog=example("oms people list"))
def list_people(as_json: AsJson = False) -> None:
    """List everybody who has ever signed in, the last one first, with the role that they had then."""

    async def work(people: People) -> list[Person]:
        return await people.listed()

    found = _with_people(work)
    if as_json:
        output.show_json({"items": [_document(person) for person in found]})
        return
    now = datetime.now(UTC)
    rows = [
        (
            output.plain(person.name),
            output.plain(said_role(person.role)),
            output.age(person.signed_in_at.isoformat(), now),
            output.plain(person.issuer),
            output.plain(person.subject),
        )
        for person in found
    ]
    output.show(output.table(("name", "role", "signed in", "at", "subject"), rows))


@commands.command("sign-out", epilog=example('oms people sign-out 8f2c --reason "has left"'))
def sign_out(
    who: Annotated[str, typer.Argument(metavar="SUBJECT|NAME", help="As `oms people list` shows it.")],
    reason: WhyOption = NO_REASON,
    as_json: AsJson = False,
) -> None:
    """End all sessions of a person, with the next request of each; the provider may let them in again."""

    async def work(people: People) -> Person:
        return await people.sign_out(who, actor(reason))

    person = _with_people(work)
    if as_json:
        output.show_json(_document(person))
    else:
        output.show(output.plain(f"signed out: {person.name}, {said_role(person.role)}"))


def _with_people(work: Callable[[People], Awaitable[T]]) -> T:
    """Run ``work`` on the installation's people. Raises Failure."""
    from oms.settings import load_settings
    from oms.tokens import people_of
    from orchestrator.people import PersonUnknown

    async def run() -> T:
        async with people_of(load_settings(), EMBEDDED) as people:
            return await work(people)

    try:
        return asyncio.run(run())
    except PersonUnknown as unknown:
        raise Failure(str(unknown)) from None


def _document(person: Person) -> dict[str, Any]:
    return {
        "person_id": str(person.person_id),
        "name": person.name,
        "role": str(person.role),
        "issuer": person.issuer,
        "subject": person.subject,
        "signed_in_at": person.signed_in_at.isoformat(),
    }
