"""One conversation with the API: opened, used and closed within one command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from oms.cli import output

if TYPE_CHECKING:
    import httpx
    from rich.text import Text

    from oms.api_client import ApiClient

T = TypeVar("T")

transport: httpx.AsyncBaseTransport | None = None
"""Another way to the API than the network; tests put a fake API here."""


def ask(url: str, token: str | None, work: Callable[[ApiClient], Awaitable[T]]) -> T:
    """Run ``work`` with a client of the API. Raises ApiFailure."""
    from oms.api_client import ApiClient, token_for

    async def conversation() -> T:
        async with ApiClient(url, token_for(url, token), transport) as api:
            return await work(api)

    return asyncio.run(conversation())


def get(url: str, token: str | None, path: str) -> dict[str, Any]:
    """The JSON object at a path. Raises ApiFailure."""
    return ask(url, token, lambda api: api.get(path))


def listed(url: str, token: str | None, path: str, parameters: dict[str, Any], limit: int) -> dict[str, Any]:
    """The first ``limit`` items of a list and the cursor of what follows. Raises ApiFailure."""
    return ask(url, token, lambda api: api.items(path, parameters, limit))


def show_more(page: dict[str, Any]) -> None:
    """Say how to see what follows, where something does."""
    if page["next_cursor"] is not None:
        output.note(f"there are more: --cursor {page['next_cursor']}, or a larger --limit")


def confirm(what: str | Text, yes: bool) -> None:
    """Say what is about to happen; ask a person at a terminal, who may say no.

    What is said and asked goes to stderr, so it does not matter where stdout leads.

    Raises:
        typer.Abort: the person did.
    """
    output.note(what)
    if not yes and _at_a_terminal():
        with redirect_stdout(sys.stderr):  # where the library puts a piece of the question
            typer.confirm("Go on?", abort=True, err=True)


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
