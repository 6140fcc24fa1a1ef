"""How jobs look to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from oms.cli import output

Document = Mapping[str, Any]


def table(jobs: Iterable[Document]) -> Table:
    """Many jobs, one a row."""
    rows = [
        (
            output.plain(job.get("job_id")),
            output.plain(job.get("kind")),
            output.status(job.get("state")),
            output.plain(f"{job.get('done')} of {job.get('total')}"),
            output.plain(job.get("refused")),
            output.plain(selection(job)),
            output.plain(job.get("actor")),
            output.age(job.get("created_at")),
        )
        for job in jobs
    ]
    return output.table(("job", "does", "state", "#done", "#refused", "of", "who", "begun"), rows)


def show(job: Document) -> None:
    """One job in full."""
    ended = " ".join(str(job[name]) for name in ("ended_by", "end_reason") if job.get(name))
    output.show(
        output.pairs(
            {
                "job": output.plain(job.get("job_id"), "bold"),
                "does": output.plain(job.get("kind")),
                "state": output.status(job.get("state")),
                "of": output.plain(selection(job)),
                "says": output.marks(job.get("details")),
                "done": output.plain(f"{job.get('done')} of {job.get('total')}"),
                "succeeded": output.plain(job.get("succeeded")),
                "refused": output.plain(job.get("refused")),
                "rate": output.plain(f"{job.get('rate_per_second'):g} a second at most"),
                "who": output.plain(job.get("actor")),
                "why": output.plain(job.get("reason")),
                "begun": output.age(job.get("created_at")),
                "ended": output.age(job["finished_at"]) if job.get("finished_at") else output.plain(None),
                "cancelled by": output.plain(ended),
                "failure": output.plain(job.get("failure"), "red"),
                "version": output.plain(job.get("version")),
            }
        )
    )
    if job.get("refusals"):
        output.show(refusals(job["refusals"]))


def refusals(found: Iterable[Document]) -> Table:
    """Why items were refused, or would be."""
    rows = [
        (output.plain(each.get("count")), output.plain(each.get("code")), output.plain(each.get("example")))
        for each in found
    ]
    return output.table(("#refused", "why", "for example"), rows)


def items(found: Iterable[Document]) -> Table:
    """Dead letters or sagas of a job, one a row."""
    rows = [
        (
            output.plain(item.get("dead_letter_id") or item.get("saga_id")),
            output.status(item.get("result")),
            output.plain(item.get("explanation")),
            output.plain(item.get("queue") or item.get("definition")),
            output.status(item.get("status")),
        )
        for item in found
    ]
    return output.table(("item", "result", "why", "of", "is now"), rows)


def preview(told: Document) -> None:
    """What a job would do."""
    output.show(Text(foretold(told)))
    if told.get("refusals"):
        output.show(refusals(told["refusals"]))


def foretold(told: Document) -> str:
    """The same in one line."""
    total, examined, refused = told.get("total"), told.get("examined"), told.get("would_be_refused")
    line = f"would {told.get('kind')} {total} {things(told)}"
    if not refused:
        return line
    of = "" if examined == total else f" of the {examined} oldest"
    return f"{line}; {refused}{of} would be refused"


def intention(job: Document, action: str) -> Text:
    """What is about to be done, and to what."""
    line = Text(f"{action} job {job.get('job_id')}: ")
    line.append_text(output.plain(f"{job.get('kind')} of {selection(job)}"))
    line.append(f", {job.get('done')} of {job.get('total')} done, which is ")
    return line.append_text(output.status(job.get("state")))


def selection(job: Document) -> str:
    """What a job was to select, in words."""
    marks = {name: value for name, value in job.get("filter", {}).items() if name != "status"}
    return ", ".join(f"{name} {_words(value)}" for name, value in marks.items()) or _everything(job)


def things(job: Document) -> str:
    """What a job acts on, in the plural; of a kind that is not known here nobody can tell."""
    if job.get("kind") in ("retry", "cancel", "resolve"):
        return "sagas"
    return "dead letters" if job.get("kind") in ("replay", "discard") else "items"


def _everything(job: Document) -> str:
    return _EVERYTHING.get(things(job), "everything")


_EVERYTHING: Final = {"sagas": "everything that goes on", "dead letters": "everything open"}


def _words(value: Any) -> str:
    if isinstance(value, Mapping) and any(isinstance(each, list) for each in value.values()):
        return " and ".join(f"{key}={_words(each)}" for key, each in value.items())
    if isinstance(value, Mapping):
        return " ".join(map(str, value.values()))
    return " or ".join(map(_words, value)) if isinstance(value, list) else str(value)
