"""`oms sagas start` and `signal`: what those do who start sagas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from oms.cli import output, saga_view, session
from oms.cli.options import DEFAULT_URL, AsJson, Timeout, Token, Url, example

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

START: Final = example(
    "oms sagas start enrolment ada.json",
    "oms sagas start enrolment ada.json --wait",
    "oms sagas start enrolment students.ndjson --concurrency 32 --json",
)
SIGNAL: Final = example(
    "oms sagas signal ID approval --body '{\"approved\": true}'",
    'oms sagas signal ID approval --body @yes.json --reason "the dean has signed"',
)


def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The definition's name.")],
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="JSON (one input or a list), or one input a line; - is stdin."),
    ],
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="Key of the saga; of several, line N gets KEY-N. Default: made from the input's content, "
            "so that running the same file again starts nothing twice.",
        ),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Start anew what was started before.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every saga has ended.")] = False,
    timeout: Timeout = 600,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=256, help="Starts under way at once.")
    ] = 16,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Start a saga of any installed definition, or many. Running it again is safe: none is started twice."""
    from oms.cli import order_files, submission, submission_view
    from oms.cli.order_text import INPUT

    _check_name(name, "NAME")
    source = order_files.opened(file, INPUT)
    keys = order_files.keys_for(source, idempotency_key, new)
    target = submission.sagas_of(name)
    plan = submission.SubmissionPlan(keys, concurrency, timeout if wait else None, target)
    view = submission_view.view_for(source, as_json, wait, target.word, saga_view.show_started)
    outcome = session.ask(url, token, lambda api: submission.run(api, source, plan, view))
    if outcome.failed:
        raise typer.Exit(1)


def signal(
    saga_id: Annotated[UUID, typer.Argument(metavar="ID", help="The saga's id.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it waits for.")],
    body: Annotated[
        str, typer.Option("--body", metavar="JSON", help="What it is told; @FILE is a file, @- is stdin.")
    ] = "{}",
    reason: Annotated[
        str | None, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it is kept in the audit log.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Tell a saga what it waits for, or will wait for. It is taken once; the same again changes nothing."""
    from oms.cli import order_files

    _check_name(name, "NAME")
    document = order_files.document_given(body, "--body")
    path = f"/sagas/{saga_id}/signals/{name}"

    async def tell(api: ApiClient) -> Document:
        return (await api.send("POST", path, body=document, parameters={"reason": reason})).body

    saga = session.ask(url, token, tell)
    if as_json:
        output.show_json(saga)
    else:
        saga_view.show_started(saga)


def _check_name(name: str, what: str) -> None:
    """Raises BadParameter for what cannot be a name, which would make another address of it."""
    from contracts.limits import IDENTIFIER

    if re.fullmatch(IDENTIFIER, name) is None:
        raise typer.BadParameter(f"{what}: small letters, digits and underscores, as in enrolment")
