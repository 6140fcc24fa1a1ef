"""`oms jobs`: what was begun on many dead letters or sagas at once, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from oms.cli import actions, following, job_view, output, session
from oms.cli.options import (
    DEFAULT_URL,
    AsJson,
    Cursor,
    ExpectedVersion,
    Limit,
    Reason,
    Token,
    Url,
    Yes,
    example,
    group,
)

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

_PATH: Final = "/admin/jobs"
REFUSED_SHOWN: Final = 20

commands = group(
    "jobs",
    "Jobs on many dead letters or sagas: how far each is; follow it, cancel it.",
    "oms jobs list --state running",
    "oms jobs watch ID",
)

JobId = Annotated[UUID, typer.Argument(metavar="ID", help="The job's id.")]


@commands.command("list", epilog=example("oms jobs list", "oms jobs list --state running --kind replay"))
def list_jobs(
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="STATE", help="running, finished, cancelled, failed; may be repeated."
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="replay, discard, retry, cancel, resolve."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    filters = {"state": state or None, "kind": kind or None, "cursor": cursor}
    page = session.listed(url, token, _PATH, filters, limit)
    if as_json:
        output.show_json(page)
        return
    output.show(job_view.table(page["items"]))
    session.show_more(page)


@commands.command("show", epilog=example("oms jobs show ID"))
def show(job_id: JobId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Show one job, and the latest of what it had to refuse."""

    async def asked(api: ApiClient) -> tuple[Document, Document]:
        job = await api.get(f"{_PATH}/{job_id}")
        refused: dict[str, Any] = {"result": "refused", "limit": REFUSED_SHOWN}
        return job, await api.get(f"{_PATH}/{job_id}/items", refused)

    job, refused = session.ask(url, token, asked)
    if as_json:
        output.show_json({**job, "refused_items": refused["items"]})
        return
    job_view.show(job)
    if refused["items"]:
        output.show(job_view.items(refused["items"]))
        if refused["next_cursor"] is not None:
            output.note(
                f"these are the latest {len(refused['items'])} of {job['refused']} that were refused; "
                f"all of them: /console/jobs/{job_id}?result=refused"
            )


@commands.command("watch", epilog=example("oms jobs watch ID"))
def watch(job_id: JobId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Follow a job to its end; leaving with Ctrl-C does not end it."""
    job = following.followed(url, token, str(job_id))
    if as_json:
        output.show_json(job)
    else:
        job_view.show(job)
    following.check_ended_well(job)


@commands.command("cancel", epilog=example('oms jobs cancel ID --reason "wrong queue"'))
def cancel(
    job_id: JobId,
    reason: Reason,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """End a job; what it has done stays done, and nothing more is."""
    after = actions.act(
        url,
        token,
        lambda api: api.get(f"{_PATH}/{job_id}"),
        lambda before: job_view.intention(before, "cancel"),
        lambda _: f"{_PATH}/{job_id}/cancel",
        {"reason": reason},
        actions.Consent(expected_version, yes),
    )
    if as_json:
        output.show_json(after)
    else:
        job_view.show(after)
