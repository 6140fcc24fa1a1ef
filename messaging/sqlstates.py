"""What each error of PostgreSQL means for whoever asked: one table, by SQLSTATE (S17).

The longest entry that a code begins with decides. A code that no entry knows is ours: the fault lies in what
was asked, it is raised as it is, and running the same again would not help.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted


class Trouble(Enum):
    """What to do about an error. All but the last are the database's: wait, and run the whole again."""

    PASSES = "passes by itself"
    ELSEWHERE = "passes, on another connection: this one would refuse everything that is asked of it"
    REFUSED = "lasts until a person or the platform mends the database: rights, disk, schema"
    OURS = "what was asked is wrong"


DECISIONS: Final = {
    "08": Trouble.PASSES,  # connection exceptions; poolers report everything of theirs as 08P01
    "0A": Trouble.ELSEWHERE,  # a plan that a migration has outgrown; a standby that is asked to write
    "25006": Trouble.ELSEWHERE,  # read-only: a server that has just lost a fail-over
    "25P02": Trouble.ELSEWHERE,  # in a failed transaction, which was not begun here: connections are mixed up
    "25P03": Trouble.PASSES,  # idle_in_transaction_session_timeout
    "25P04": Trouble.PASSES,  # transaction_timeout
    "26": Trouble.ELSEWHERE,  # a prepared statement that the server does not know: a pooler came between
    "28": Trouble.REFUSED,  # not let in
    "3D": Trouble.REFUSED,  # there is no such database
    "3F": Trouble.REFUSED,  # there is no such schema
    "40": Trouble.PASSES,  # serialization failures, deadlocks
    "40002": Trouble.OURS,  # an integrity constraint at the commit
    "42501": Trouble.REFUSED,  # a right is missing
    "42703": Trouble.REFUSED,  # a column is missing: not this program's schema
    "42P01": Trouble.REFUSED,  # a table is missing: not migrated, or restored without
    "42P05": Trouble.ELSEWHERE,  # a statement is prepared that we did not prepare here: a pooler came between
    "53": Trouble.REFUSED,  # no disk, memory or connection left
    "55": Trouble.PASSES,  # locked or in use
    "55P02": Trouble.OURS,
    "57": Trouble.PASSES,  # cancelled (statement_timeout, an operator), shutting down, starting
    "58": Trouble.REFUSED,  # the system below: input and output, files
    "72": Trouble.PASSES,  # snapshot too old
    "F0": Trouble.REFUSED,  # its configuration files
    "XX": Trouble.REFUSED,  # internal errors, corrupted data
}
"""By the first characters of an SQLSTATE. Whole classes that are ours are not here: data (22), constraints
(23), syntax (42), limits of a statement (54), raised by a function (P0), what PostgreSQL may yet invent."""


def trouble_of(error: BaseException) -> Trouble:
    """What an error is, whoever wrapped it."""
    cause = cause_of(error)
    if isinstance(cause, psycopg.Error) and cause.sqlstate is not None:
        code = cause.sqlstate
        return next((DECISIONS[code[:size]] for size in (5, 2) if code[:size] in DECISIONS), Trouble.OURS)
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError | PoolExhausted | OSError):
        return Trouble.PASSES  # no word of the server's: the line is broken, or nobody is there
    return Trouble.OURS


def is_transient(error: BaseException) -> bool:
    """Whether running the unit of work again can help (S17)."""
    return trouble_of(error) is not Trouble.OURS


def is_collision(error: BaseException) -> bool:
    """Whether there is a row of this key already: of ids drawn beforehand only an earlier run has made it."""
    return isinstance(cause_of(error), psycopg.errors.UniqueViolation)


class WrittenMeanwhile(psycopg.OperationalError):
    """While this transaction waited, another one wrote what it had seen to be absent.

    Transient (S17): the unit of work is run again and finds it.
    """


def cause_of(error: BaseException) -> BaseException:
    """What the driver raised, whoever wrapped it."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
