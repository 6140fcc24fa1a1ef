"""How dead letters look to people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from oms.cli import output

Document = Mapping[str, Any]


def table(dead_letters: Iterable[Document]) -> Table:
    """Many dead letters, one a row."""
    rows = [
        (
            output.plain(dead.get("dead_letter_id")),
            output.status(dead.get("status")),
            output.plain(dead.get("type")),
            output.plain(dead.get("queue")),
            _error(dead),
            output.plain(dead.get("deaths")),
            output.age(dead.get("last_failed_at")),
        )
        for dead in dead_letters
    ]
    return output.table(
        ("dead letter", "status", "message", "queue", "error", "#deaths", "last failed"), rows
    )


def groups(found: Iterable[Document]) -> Table:
    """Counts by queue and error."""
    rows = [
        (
            output.plain(each.get("queue")),
            output.plain(each.get("error_type")),
            _counted(each, "count"),
            _counted(each, "permanent"),
            output.plain(", ".join(each.get("steps") or ())),
            output.age(each.get("first_failed_at")),
            output.age(each.get("last_failed_at")),
        )
        for each in found
    ]
    names = ("queue", "error", "#open", "#permanent", "steps", "first failed", "last failed")
    return output.table(names, rows)


def _counted(group: Document, name: str) -> Text:
    """A count, with a mark where counting has stopped."""
    count = group.get(name)
    return output.plain(f"{count}+" if group.get("at_least") and count else count)


def show(dead: Document) -> None:
    """One dead letter in full."""
    work = " ".join(str(dead[name]) for name in ("step", "direction") if dead.get(name))
    output.show(
        output.pairs(
            {
                "dead letter": output.plain(dead.get("dead_letter_id"), "bold"),
                "status": output.status(dead.get("status")),
                "cause": output.plain(dead.get("cause")),
                "message": output.plain(dead.get("type")),
                "queue": output.plain(dead.get("queue")),
                "saga": output.plain(dead.get("saga_id")),
                "work": output.plain(work),
                "error": _error(dead),
                "permanent": output.plain("yes" if dead.get("permanent") else "no"),
                "attempts": output.plain(dead.get("attempts")),
                "deaths": output.plain(dead.get("deaths")),
                "first failed": output.age(dead.get("first_failed_at")),
                "last failed": output.age(dead.get("last_failed_at")),
                "version": output.plain(dead.get("version")),
                "stack": output.plain(dead.get("error_stack"), "dim"),
            }
        )
    )
    if dead.get("headers"):
        output.show(Text("headers", style="bold"), output.pairs(_headers(dead["headers"])))
    body = dead.get("body")
    if body is not None:
        words = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
        cut = " (cut)" if dead.get("body_truncated") else ""
        output.show(Text(f"body{cut}", style="bold"), output.plain(words))


def intention(dead: Document, action: str) -> Text:
    """What is about to be done, and to what."""
    line = Text(f"{action} dead letter {dead.get('dead_letter_id')}: ")
    line.append_text(output.plain(dead.get("type"))).append(" of ").append_text(
        output.plain(dead.get("queue"))
    )
    line.append(", which is ").append_text(output.status(dead.get("status")))
    return line.append(f" (version {dead.get('version')})")


def result(answer: Document) -> None:
    """What an action did, or would do."""
    what = answer.get("what")
    if isinstance(what, str):
        output.show(output.plain(f"would do: {what}" if answer.get("dry_run") else what))
    dead = answer.get("dead_letter", answer)
    if isinstance(dead, Mapping) and "dead_letter_id" in dead:
        output.show(table([dead]))


def _headers(headers: Mapping[str, Any]) -> dict[str, Text]:
    """What does not stand above them already."""
    shown = {name: value for name, value in headers.items() if not name.startswith("error-")}
    return {str(name): output.plain(value) for name, value in shown.items()}


def _error(dead: Document) -> Text:
    kind, message = dead.get("error_type"), dead.get("error_message")
    return output.plain(f"{kind}: {message}" if message else kind, "red")
