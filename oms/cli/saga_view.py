"""How sagas look to people: tables, steps, a timeline of the history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from oms.cli import output
from oms.cli.durations import exact_span

Document = Mapping[str, Any]

_TROUBLE: Final = ("Rejected", "Declined", "Refused", "unknown", "dead", "stuck", "overdue")
_TOLD_OTHERWISE: Final = ("order_status", "waits")
"""Of an explanation: the label by its older name, and waits, which `show` has in a table."""

_ARROW: Final = {"compensating": "↩ ", "forward": ""}


def table(sagas: Iterable[Document]) -> Table:
    """Many sagas, one a row."""
    rows = [
        (
            output.plain(saga.get("saga_id")),
            output.plain(saga.get("definition")),
            output.plain(saga.get("reference")),
            output.status(saga.get("status")),
            output.status(_label(saga)),
            _awaited(saga),
            _incidents(saga.get("incident_kinds")),
            output.age(saga.get("created_at")),
            output.age(saga.get("updated_at")),
        )
        for saga in sagas
    ]
    titles = ("saga", "definition", "reference", "status", "stands at", "awaits", "incidents", "created")
    return output.table((*titles, "changed"), rows)


def show(saga: Document) -> None:
    """One saga in full."""
    output.show(
        output.pairs(
            {
                "saga": output.plain(saga.get("saga_id"), "bold"),
                "about": output.plain(_about(saga)),
                "definition": output.plain(f"{saga.get('definition')} {saga.get('definition_version')}"),
                "started by": output.plain(saga.get("owner")),
                "reference": output.plain(saga.get("reference")),
                "metadata": output.marks(saga.get("metadata")),
                "status": _statuses(saga),
                "awaits": _awaited(saga),
                "version": output.plain(saga.get("version")),
                "failure": _failure(saga.get("failure")),
                "looked at next": output.age(saga.get("due_at")),
                "created": output.age(saga.get("created_at")),
                "ended": output.age(saga.get("ended_at")),
                "actions": output.plain(", ".join(saga.get("allowed_actions") or ())),
            }
        )
    )
    if saga.get("incidents"):
        output.show(_incident_table(saga["incidents"]))
    if saga.get("steps"):
        output.show(_step_table(saga["steps"]))
    if saga.get("waits"):
        output.show(_wait_table(saga["waits"]))
    if saga.get("history"):
        output.show(_timeline(saga))


def show_started(saga: Document) -> None:
    """One saga as whoever started it sees it."""
    output.show(
        output.pairs(
            {
                "saga": output.plain(saga.get("saga_id"), "bold"),
                "about": output.plain(_about(saga)),
                "definition": output.plain(f"{saga.get('definition')} {saga.get('definition_version')}"),
                "status": _statuses(saga),
                "failure": _failure(saga.get("failure")),
                "cancel asked for": output.age(saga.get("cancel_requested_at")),
                "created": output.age(saga.get("created_at")),
                "ended": output.age(saga.get("ended_at")),
                "cannot be read": output.plain(saga.get("unreadable")),
            }
        )
    )
    if saga.get("waits"):
        output.show(_wait_table(saga["waits"]))


def intention(saga: Document, action: str) -> Text:
    """What is about to be done, and to what."""
    line = Text(f"{action} saga {saga.get('saga_id')}, which is ").append_text(
        output.status(saga.get("status"))
    )
    if saga.get("step"):
        line.append(" and awaits ").append_text(_awaited(saga))
    return line.append(f" (version {saga.get('version')})")


def messages(found: Iterable[Document]) -> None:
    """Each message with its body."""
    for message in found:
        line = Text(f"{message.get('seq', ''):>3}  ", style="dim").append_text(
            output.plain(message.get("type"), "bold")
        )
        for name in ("kind", "message_id"):
            if message.get(name):
                line.append("  ").append_text(output.plain(message[name], "dim"))
        output.show(line, output.plain(json.dumps(message.get("body"), indent=2, ensure_ascii=False)))


def explain(explanation: Document) -> None:
    """Whatever the service knows about why a saga stands where it stands."""
    summary = explanation.get("summary")
    if isinstance(summary, str):
        output.show(output.plain(summary))
    hidden = {"summary", *_TOLD_OTHERWISE} if "label" in explanation else {"summary"}
    if _about(explanation) is None:
        hidden.add("order_id")
    shown = {name: value for name, value in explanation.items() if name not in hidden}
    output.show(output.pairs(dict(_flat(shown))))


def history_line(entry: Document, started: Any) -> Text:
    """One entry of a history: when, how long after the start, what happened, where it led."""
    at, start = output.moment(entry.get("at")), output.moment(started)
    clock = at.astimezone().strftime("%H:%M:%S.%f")[:-3] if at else ""
    after = f"+{exact_span((at - start).total_seconds())}" if at and start else ""
    line = Text(f"{entry.get('seq', ''):>3}  {clock}  {after:>8}  ", style="dim")
    line.append_text(_happened(entry))
    sent = [message.get("type", "") for message in entry.get("sent") or ()]
    if sent:
        line.append_text(Text("  → ", style="dim")).append_text(output.plain(", ".join(sent), "dim"))
    return line


def _timeline(saga: Document) -> Table:
    grid = Table.grid()
    grid.add_row(Text("history", style="bold"))
    for entry in saga["history"]:
        grid.add_row(history_line(entry, saga.get("created_at")))
    return grid


def _happened(entry: Document) -> Text:
    accepted = entry.get("accepted") or {}
    event = accepted.get("event")
    what = output.plain(event or str(entry.get("kind", "")).replace("_", " "), _entry_style(entry))
    details = [
        str(accepted[name]) for name in ("step", "wait", "verdict") if accepted.get(name) and not event
    ]
    data = accepted.get("data")
    if isinstance(data, Mapping):
        details += [str(data[name]) for name in ("code", "effect", "reference") if data.get(name)]
    if accepted.get("error"):
        details.append(str(accepted["error"]))
    actor = accepted.get("actor")
    if isinstance(actor, Mapping):
        details.append(f"by {actor.get('name')}: {actor.get('reason')}")
    if details:
        what.append("  ").append_text(output.plain(", ".join(details)))
    return what


def _entry_style(entry: Document) -> str:
    name = str((entry.get("accepted") or {}).get("event") or entry.get("kind"))
    if any(part in name for part in _TROUBLE):
        return "yellow"
    if any(part in name for part in ("requested", "Settled")):
        return "magenta"
    return "green" if name.endswith("Event") else "cyan"


def _statuses(saga: Document) -> Text:
    status, label = output.status(saga.get("status")), _label(saga)
    return status if label is None else status.append(", at ", "default").append_text(output.status(label))


def _label(saga: Document) -> Any:
    """Where it stands; releases before called it the order's status."""
    return saga.get("label", saga.get("order_status"))


def _about(saga: Document) -> Any:
    """What a saga is about, where that is something else than itself."""
    about = saga.get("subject_id", saga.get("order_id"))
    return about if about != saga.get("saga_id") else None


def _awaited(saga: Document) -> Text:
    steps = saga.get("awaits") or ([saga["step"]] if saga.get("step") else [])
    more = f" and {len(steps) - 3} more" if len(steps) > 3 else ""
    step = f"{', '.join(map(str, steps[:3]))}{more}"
    return output.plain(step and f"{_ARROW.get(str(saga.get('direction')), '')}{step}")


def _incidents(kinds: Any) -> Text:
    return output.plain(", ".join(kinds) if kinds else None, "red")


def _failure(failure: Any) -> Text:
    if not isinstance(failure, Mapping):
        return output.plain(None)
    code, message = failure.get("code"), failure.get("message")
    return output.plain(f"{code}: {message}" if message else code)


def _incident_table(incidents: Iterable[Document]) -> Table:
    rows = [
        (
            output.plain(incident.get("kind"), "red"),
            output.plain(incident.get("step")),
            output.plain(incident.get("direction")),
            output.age(incident.get("since")),
            output.plain(incident.get("message")),
        )
        for incident in incidents
    ]
    return output.table(("incident", "step", "direction", "since", "what"), rows, "open incidents")


def _step_table(steps: Iterable[Document]) -> Table:
    rows = [
        (
            output.plain(step.get("name")),
            output.plain(step.get("item")),
            output.plain(step.get("kind")),
            output.status(step.get("status")),
            output.plain(step.get("attempts")),
            output.plain(step.get("compensation_attempts") or None),
            output.plain(", ".join(f"{name} {value}" for name, value in (step.get("result") or {}).items())),
        )
        for step in steps
    ]
    return output.table(("step", "item", "kind", "status", "#sent", "#undo sent", "result"), rows)


def _wait_table(waits: Iterable[Document]) -> Table:
    rows = [
        (
            output.plain(wait.get("name")),
            output.plain(wait.get("signal")),
            output.status(wait.get("status")),
            output.age(wait.get("deadline_at")) if wait.get("deadline_at") else output.plain(None),
            _received(wait.get("received")),
        )
        for wait in waits
    ]
    return output.table(("wait", "signal", "status", "over", "received"), rows)


def _received(signal: Any) -> Text:
    if not isinstance(signal, Mapping):
        return output.plain(None)
    return output.plain(f"{json.dumps(signal.get('body'), ensure_ascii=False)} by {signal.get('sender')}")


def _flat(document: Document, above: str = "") -> Iterable[tuple[str, Text]]:
    """Nested names and values as lines: ``queue depth``, with times as ages."""
    for name, value in document.items():
        words = f"{above} {name.replace('_', ' ')}".strip()
        if isinstance(value, Mapping):
            yield from _flat(value, words)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value, start=1):
                yield from _flat(item, f"{words} {number}")
        elif isinstance(value, list):
            yield words, output.plain(", ".join(str(item) for item in value))
        elif name.endswith(("_at", "since", "deadline")) and output.moment(value) is not None:
            yield words, output.age(value)
        else:
            yield words, output.status(value) if name.endswith("status") else output.plain(value)
