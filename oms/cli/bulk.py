"""The same action on many dead letters or sagas: dry run, question, job, bar."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import typer

from oms.cli import following, job_view, output, session
from oms.failures import Failure

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

NOTHING: Final = {"dead letters": "no open dead letter is like this", "sagas": "no saga is like this"}


@dataclass(frozen=True, slots=True)
class Many:
    """What is to be done to which of them.

    Attributes:
        path: where the API takes it.
        kind: what is done, in a word.
        things: to what, in the plural.
        selected: the filter as the API takes it.
        rate: so many a second; None leaves it to the API.
        details: what the action itself says.
    """

    path: str
    kind: str
    things: str
    selected: dict[str, Any]
    reason: str | None
    rate: float | None
    details: dict[str, Any] = field(default_factory=dict)

    def body(self, **more: Any) -> dict[str, Any]:
        """The request."""
        rate = {} if self.rate is None else {"rate_per_second": self.rate}
        said = {"filter": self.selected, "reason": self.reason or "dry run"}
        return {**said, **self.details, **rate, **more}


def foretell(url: str, token: str | None, many: Many, as_json: bool) -> None:
    """Only tell what would happen. Raises ApiFailure."""
    told = _preview(url, token, many)
    if as_json:
        output.show_json(told)
    else:
        job_view.preview(told)


def carry_out(url: str, token: str | None, many: Many, yes: bool, detach: bool, as_json: bool) -> None:
    """Begin a job on exactly what a dry run has counted, and follow it unless told to leave.

    Raises:
        typer.BadParameter: there is no reason.
        Failure: there is nothing to do, or the job did not end well.
    """
    if many.reason is None:
        raise typer.BadParameter("say why with --reason, or try --dry-run")
    told = _preview(url, token, many)
    if not told["total"]:
        raise Failure(NOTHING[many.things])
    for line in (job_view.foretold(told), *map(_refusal, told.get("refusals", ()))):
        output.note(line)
    session.confirm(f"{many.kind} {told['total']} {many.things}", yes)
    body = many.body(expected_count=told["total"])
    job = session.ask(url, token, lambda api: api.post(many.path, body))
    if not detach:
        job = following.followed(url, token, job["job_id"])
    if as_json:
        output.show_json(job)
    else:
        job_view.show(job)
    following.check_ended_well(job)


def _preview(url: str, token: str | None, many: Many) -> Document:
    async def asked(api: ApiClient) -> Document:
        return await api.post(many.path, many.body(dry_run=True))

    return session.ask(url, token, asked)


def _refusal(found: dict[str, Any]) -> str:
    return f"  {found.get('count')} {found.get('code')}: {found.get('example')}"
