"""`oms tokens`: who may look and act. Works on the orchestrator's database itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from rich.table import Table

from oms.cli import output
from oms.cli.durations import duration
from oms.cli.options import AsJson, actor, example, group
from oms.cli.whole import EMBEDDED
from oms.failures import Failure

if TYPE_CHECKING:
    from orchestrator.tokens import StoredToken, Tokens

T = TypeVar("T")

commands = group(
    "tokens",
    "Tokens of people and programs, each with a name and a role.",
    "oms tokens create --name jane --role operator --expires 90d",
    "oms tokens revoke jane",
)


class RoleName(StrEnum):
    """What a token may be made for."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


WhyOption = Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; kept in the audit log.")]
NO_REASON: Final = "no reason was given"


@commands.command("create", epilog=example("oms tokens create --name jane --role operator --expires 90d"))
def create(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Stands in the audit log.")],
    role: Annotated[RoleName, typer.Option("--role", help="How far it goes.")],
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="TIME", help="After so long: 90d, 12h, 30m. Default: never."),
    ] = None,
    reason: WhyOption = NO_REASON,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is printed once, on stdout; only its hash is kept.

    Works on OMS_ORCHESTRATOR_DATABASE_URL (or OMS_DATABASE_URL), or on what `oms run` keeps in this folder.
    """
    lifetime = duration(expires, "--expires") if expires is not None else None

    async def work(tokens: Tokens) -> tuple[str, StoredToken]:
        from orchestrator.tokens import Role

        return await tokens.create(name, Role(role.value), actor(reason), lifetime)

    secret, made = _with_tokens(work)
    if as_json:
        output.show_json({"token": secret, **_document(made, made.created_at)})
        return
    until = f", good until {made.expires_at:%Y-%m-%d %H:%M} UTC" if made.expires_at is not None else ""
    output.note(f"token of {made.name}, {made.role}{until}; it is not shown again:")
    typer.echo(secret)


@commands.command("list", epilog=example("oms tokens list"))
def list_tokens(as_json: AsJson = False) -> None:
    """List all tokens, newest first; never the tokens themselves. The last use may be 5 minutes behind."""

    async def work(tokens: Tokens) -> tuple[list[StoredToken], datetime]:
        return await tokens.listed()

    found, now = _with_tokens(work)
    if as_json:
        output.show_json({"items": [_document(token, now) for token in found]})
    else:
        output.show(_table(found, now))


@commands.command("revoke", epilog=example('oms tokens revoke jane --reason "has left"'))
def revoke(
    token: Annotated[str, typer.Argument(metavar="NAME|ID", help="Its name or id.")],
    reason: WhyOption = NO_REASON,
    as_json: AsJson = False,
) -> None:
    """Make a token worthless: its session ends with the next request, a program's requests within 2 s."""

    async def work(tokens: Tokens) -> StoredToken:
        return await tokens.revoke(token, actor(reason))

    revoked = _with_tokens(work)
    if as_json:
        output.show_json(_document(revoked, revoked.revoked_at or revoked.created_at))
    else:
        output.show(output.plain(f"revoked: {revoked.name}, {said_role(revoked.role)}"))


def _with_tokens(work: Callable[[Tokens], Awaitable[T]]) -> T:
    """Run ``work`` on the installation's tokens. Raises Failure."""
    from oms.settings import load_settings
    from oms.tokens import tokens_of
    from orchestrator.tokens import TokenRefused

    async def run() -> T:
        async with tokens_of(load_settings(), EMBEDDED) as tokens:
            return await work(tokens)

    try:
        return asyncio.run(run())
    except TokenRefused as refused:
        raise Failure(str(refused)) from None


def said_role(role: str) -> str:
    """A role as people read it; one of a later release for what it is."""
    from contracts.words import said_of
    from orchestrator.tokens import Role

    return said_of(Role, role, "role")


def _document(token: StoredToken, now: datetime) -> dict[str, Any]:
    moments = ("created_at", "expires_at", "revoked_at", "last_used_at")
    shown = {name: getattr(token, name) for name in moments}
    return {
        "token_id": str(token.token_id),
        "name": token.name,
        "role": str(token.role),
        "status": token.standing(now),
        "created_by": token.created_by,
        **{name: at.isoformat() if at is not None else None for name, at in shown.items()},
    }


def _table(tokens: Iterable[StoredToken], now: datetime) -> Table:
    rows = [
        (
            output.plain(shown["name"]),
            output.plain(said_role(shown["role"])),
            output.plain(shown["status"], _STYLES[shown["status"]]),
            output.age(shown["created_at"], now),
            output.plain(shown["created_by"]),
            output.age(shown["expires_at"], now),
            output.age(shown["last_used_at"], now),
            output.plain(shown["token_id"]),
        )
        for shown in (_document(token, now) for token in tokens)
    ]
    return output.table(("name", "role", "status", "created", "by", "expires", "last used", "id"), rows)


_STYLES: Final = {"valid": "green", "expired": "yellow", "revoked": "dim"}
