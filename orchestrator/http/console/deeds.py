"""What forms ask for, done once: a form that is sent twice is told what became of it the first time.

What somebody does to a version of something takes that to another version, and leaves an entry in the audit
log in the same transaction. So whoever comes too late learns from that entry who was first, and with what: if
it was the same person with the same words, it was the same form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import ProblemError
from orchestrator.core.inputs import Actor
from orchestrator.http.console.notes import Notes
from orchestrator.http.console.rendering import moment, redirect, words
from orchestrator.http.console.session import Session
from orchestrator.operations import StaleVersion
from orchestrator.queries.audit import AuditQueries
from orchestrator.queries.views import AuditView


@dataclass(frozen=True, slots=True)
class Deed:
    """What a form asks for, as the audit log would tell it.

    Attributes:
        subject: such as ``saga:<id>``.
        version: of the subject, as the page has shown it.
        details: what else the entry says that it was.
    """

    action: str
    subject: str
    actor: Actor
    version: int
    details: Mapping[str, Any] = field(default_factory=dict)

    def is_told_by(self, entry: AuditView) -> bool:
        """Whether this is what was done."""
        mine = (self.action, self.actor.name, self.actor.reason)
        told = all(entry.after.get(name) == value for name, value in self.details.items())
        return told and mine == (entry.action, entry.actor, entry.reason)


class Deeds:
    """Does what forms ask for, and sends the browser to the page that says so."""

    def __init__(self, audit_log: AuditQueries, notes: Notes) -> None:
        self._audit_log = audit_log
        self._notes = notes

    async def done(
        self, request: Request, session: Session, deed: Deed, act: Callable[[], Awaitable[str]], page: str
    ) -> Response:
        """The way to ``page``, which says what has come of it.

        Args:
            act: does it; what it returns is said. Raises StaleVersion, and whatever else speaks against it.

        Raises:
            ProblemError: 412 where something else was done to that version.
        """
        try:
            sentence = await act()
        except StaleVersion as stale:
            entry = await self._audit_log.moved_on(deed.subject, deed.version)
            if entry is None:
                raise
            if not deed.is_told_by(entry):
                raise _too_late(stale, entry, session) from None
            sentence = done_before(f"{moment(entry.at)} UTC")
        return self.told(request, session, page, sentence)

    def told(self, request: Request, session: Session, page: str, sentence: str) -> Response:
        """The way to a page that says something once."""
        response = redirect(page)
        self._notes.leave(request, response, session, page, sentence)
        return response


def done_before(when: str) -> str:
    """What is said where a form was sent a second time."""
    return f"This was done already, at {when}: once, however often the form was sent."


def _too_late(stale: StaleVersion, entry: AuditView, session: Session) -> ProblemError:
    yourself = " (you, or somebody with the same token)" if entry.actor == session.principal.name else ""
    what, when = words(entry.action.rpartition(".")[2]), f"{moment(entry.at)} UTC"
    detail = (
        f"Somebody was faster: {entry.actor}{yourself} at {when}, {what}, because “{entry.reason}”. "
        f"It is at version {stale.current} now. Nothing was done this time. "
        "Please look at it as it stands, and decide again."
    )
    return ProblemError(412, "stale_version", detail)
