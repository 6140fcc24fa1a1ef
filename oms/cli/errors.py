"""The one place where an error becomes an exit code and one line on stderr."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Final

import typer

from contracts.one_line import first_line
from oms.failures import Failure
from oms.log_writer import flush_logs

INTERRUPTED: Final = 130
USAGE: Final = 2
FAILED: Final = 1

_FOR_PEOPLE: Final[frozenset[str]] = frozenset(
    {
        "oms.settings.InvalidSettings",
        "oms.settings.MissingSettings",
        "oms.embedded.child.ServerError",
        "migrations.run.MigrationFailed",
        "orchestrator.core.soundness.InvalidDefinition",
        "messaging.certificates.UnusableAuthorities",
        "messaging.proxies.InvalidProxy",
        "messaging.unit_of_work.StorageUnavailable",
        "messaging.sessions.UnfitDatabase",
        "messaging.transport.BrokerUnavailable",
        "messaging.transport.TopologyMismatch",
        "messaging.rabbitmq.connection.BrokerError",
        "participants.provider_http.InvalidProviderUrl",
        "psycopg.OperationalError",
        "psycopg.errors.InsufficientPrivilege",
    }
)
"""Errors whose message is meant for a person, by where they are defined."""

_HOUSE: Final = "oms."
"""Beneath which all our packages are once they are installed."""


def report(error: BaseException) -> int:
    """Tell the person at the terminal what went wrong; returns the exit code."""
    flush_logs()
    cause = _single(error)
    if isinstance(cause, typer.TyperException):
        _say(_usage(cause))
        return cause.exit_code
    if isinstance(cause, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED
    if isinstance(cause, Failure):
        _say(str(cause))
        return cause.exit_code
    _say(_said(cause))
    if os.environ.get("OMS_LOG_LEVEL", "").lower() == "debug":
        traceback.print_exception(error, file=sys.stderr)
    return FAILED


def _said(error: BaseException) -> str:
    if _is_for_people(error):
        return first_line(error)
    if isinstance(error, UnicodeEncodeError):  # an argument in another encoding, on its way to a database
        return f"{error.object[error.start : error.end]!r} is no text in UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"unexpected {type(error).__name__}: {first_line(error)} (OMS_LOG_LEVEL=debug shows the traceback)"


def _is_for_people(error: BaseException) -> bool:
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    return not _FOR_PEOPLE.isdisjoint(names | {name.removeprefix(_HOUSE) for name in names})


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    return first_line(error.format_message()) + hint


def _single(error: BaseException) -> BaseException:
    """The first cause within groups of errors, as tasks that ran together raise them, without wrapping."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    wrapped = getattr(error, "orig", None)  # what the database's driver said, within SQLAlchemy's error
    return wrapped if isinstance(wrapped, Exception) else error


def _say(line: str) -> None:
    printable = "".join(character if character.isprintable() else " " for character in line)
    print(f"oms: {printable}", file=sys.stderr)  # noqa: T201
