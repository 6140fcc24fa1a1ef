"""`oms webhooks`: where events are sent, how that goes, and what admins do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from oms.cli import actions, output, session
from oms.cli.durations import duration
from oms.cli.options import (
    DEFAULT_URL,
    AsJson,
    ExpectedVersion,
    Reason,
    Token,
    Url,
    Yes,
    example,
    group,
)
from oms.cli.output import age, pairs, plain, status

if TYPE_CHECKING:
    from rich.table import Table

    from oms.api_client import Document

_PATH: Final = "/admin/webhooks"

commands = group(
    "webhooks",
    "Receivers to which events are sent: signed, in order, at least once.",
    'oms webhooks add https://shop.example.com/hooks --type OrderCompletedEvent --reason "for the shop"',
    "oms webhooks list",
)

WebhookId = Annotated[UUID, typer.Argument(metavar="ID", help="The webhook's id.")]
From = Annotated[
    str,
    typer.Option(
        "--from", metavar="PLACE", help="latest, oldest, or a time in RFC 3339, as 2026-01-31T12:00:00Z."
    ),
]


@commands.command(
    "add",
    epilog=example(
        'oms webhooks add https://shop.example.com/hooks --type OrderCompletedEvent --reason "for the shop"',
        'oms webhooks add https://dwh.example.com/oms --from oldest --reason "all of it"',
    ),
)
def add(
    receiver: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent: https.")],
    reason: Reason,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Events of this type; may be repeated. Default: all."),
    ] = None,
    start: From = "latest",
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send events to a URL. The secret that signs them is printed once, on stdout."""
    body = {"url": receiver, "types": types or [], "start": start, "reason": reason}
    made = session.ask(url, token, lambda api: api.post(_PATH, body))
    _show_secret(made, as_json)


@commands.command("list", epilog=example("oms webhooks list", "oms webhooks list --json"))
def list_webhooks(url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """List all webhooks and how they fare; never their secrets."""
    found = session.get(url, token, _PATH)
    if as_json:
        output.show_json(found)
    else:
        output.show(_table(found["items"]))


@commands.command("show", epilog=example("oms webhooks show ID"))
def show(webhook_id: WebhookId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Show a webhook with its latest attempts."""
    _show(session.get(url, token, f"{_PATH}/{webhook_id}"), as_json)


@commands.command("pause", epilog=example('oms webhooks pause ID --reason "the shop moves house"'))
def pause(
    webhook_id: WebhookId,
    reason: Reason,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send nothing until it is resumed. It keeps its place; what is pruned meanwhile it would miss."""
    consent = actions.Consent(expected_version, yes)
    _show(_act(url, token, webhook_id, "pause", {"reason": reason}, consent), as_json)


@commands.command("resume", epilog=example('oms webhooks resume ID --reason "the shop is back"'))
def resume(
    webhook_id: WebhookId,
    reason: Reason,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send again from where it stands; where the last try failed, at once."""
    consent = actions.Consent(expected_version, yes)
    _show(_act(url, token, webhook_id, "resume", {"reason": reason}, consent), as_json)


@commands.command(
    "replay",
    epilog=example(
        'oms webhooks replay ID --from 2026-01-31T12:00:00Z --reason "the shop has lost a day"',
        'oms webhooks replay ID --from oldest --reason "begin anew"',
    ),
)
def replay(
    webhook_id: WebhookId,
    reason: Reason,
    start: From,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send from another place on, also what was sent before, under the same ids; it is active then."""
    consent = actions.Consent(expected_version, yes)
    body = {"reason": reason, "start": start}
    _show(_act(url, token, webhook_id, "replay", body, consent), as_json)


@commands.command("rotate", epilog=example('oms webhooks rotate ID --overlap 2h --reason "once a year"'))
def rotate(
    webhook_id: WebhookId,
    reason: Reason,
    overlap: Annotated[
        str,
        typer.Option("--overlap", metavar="TIME", help="For so long the old one signs, too: 24h, 30m."),
    ] = "24h",
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Give it a new secret, which is printed once, on stdout."""
    both_s = 0 if overlap == "0" else int(duration(overlap, "--overlap").total_seconds())
    body = {"reason": reason, "overlap_s": both_s}
    consent = actions.Consent(expected_version, yes)
    _show_secret(_act(url, token, webhook_id, "rotate", body, consent), as_json)


@commands.command("test", epilog=example('oms webhooks test ID --reason "is it there"'))
def try_out(
    webhook_id: WebhookId,
    reason: Reason,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Have a trial event sent, also where it is paused; `oms webhooks show` tells what came of it."""
    consent = actions.Consent(expected_version, yes)
    _show(_act(url, token, webhook_id, "test", {"reason": reason}, consent), as_json)


@commands.command("remove", epilog=example('oms webhooks remove ID --reason "the shop is closed"'))
def remove(
    webhook_id: WebhookId,
    reason: Reason,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send nothing any more, and forget the secrets."""
    consent = actions.Consent(expected_version, yes)
    _show(_act(url, token, webhook_id, "remove", {"reason": reason}, consent), as_json)


def _act(
    url: str,
    token: str | None,
    webhook_id: UUID,
    action: str,
    body: dict[str, Any],
    consent: actions.Consent,
) -> Document:
    path = f"{_PATH}/{webhook_id}"
    return actions.act(
        url,
        token,
        lambda api: api.get(path),
        lambda before: plain(f"webhook {before.get('url')} is {before.get('state')}: {action}"),
        lambda _: f"{path}/{action}",
        body,
        consent,
    )


def _show_secret(made: Document, as_json: bool) -> None:
    if as_json:
        output.show_json(made)
        return
    webhook = made["webhook"]
    output.note(plain(f"webhook {webhook.get('webhook_id')}; its secret is not shown again:"))
    typer.echo(str(made["secret"]))


def _show(webhook: Document, as_json: bool) -> None:
    if as_json:
        output.show_json(webhook)
        return
    output.show(pairs(dict(_facts(webhook))))
    if attempts := webhook.get("attempts"):
        rows = [
            (
                age(each.get("at")),
                plain(each.get("type")),
                plain(each.get("event_id")),
                plain(each.get("failure") or "taken", "red" if each.get("failure") else "green"),
                plain(f"{each.get('took_ms')} ms"),
            )
            for each in attempts
        ]
        output.show(
            output.table(("at", "type", "event", "what came of it", "#took"), rows, "latest attempts")
        )


def _facts(webhook: Document) -> Iterable[tuple[str, Any]]:
    yield "webhook", plain(webhook.get("webhook_id"))
    yield "url", plain(webhook.get("url"))
    yield "types", plain(", ".join(webhook.get("types") or ()) or "all")
    yield "state", status(_standing(webhook))
    if webhook.get("why"):
        yield "because", plain(webhook["why"])
    yield "delivered", plain(webhook.get("delivered"))
    yield "last taken", age(webhook.get("delivered_at"))
    yield "behind", plain(f"{webhook.get('behind_s', 0):.0f} s")
    if webhook.get("failures"):
        yield "failures in a row", plain(webhook["failures"])
        yield "failing since", age(webhook.get("failing_since"))
        yield "tried again", age(webhook.get("next_at"))
    if webhook.get("old_secret_until"):
        yield "old secret until", age(webhook["old_secret_until"])
    if webhook.get("trial_waits"):
        yield "trial", plain("is still to be sent")
    yield "version", plain(webhook.get("version"))


def _standing(webhook: Document) -> str:
    fails = webhook.get("state") == "active" and webhook.get("failures")
    return "failing" if fails else str(webhook.get("state"))


def _last_failure(webhook: Document) -> str | None:
    if webhook.get("why"):
        return str(webhook["why"])
    attempts: list[Document] = webhook.get("attempts") or [{}]
    return attempts[0].get("failure")


def _table(webhooks: Iterable[Document]) -> Table:
    rows = [
        (
            plain(each.get("webhook_id")),
            plain(each.get("url")),
            status(_standing(each)),
            plain(each.get("delivered")),
            age(each.get("delivered_at")),
            plain(f"{each.get('behind_s', 0):.0f} s"),
            plain(_last_failure(each)),
        )
        for each in webhooks
    ]
    return output.table(("id", "url", "state", "#delivered", "last", "#behind", "trouble"), rows)
