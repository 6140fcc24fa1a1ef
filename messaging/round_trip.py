"""Connections to PostgreSQL that send several statements in one write and wait once for all their results.

psycopg's pipeline writes each statement to the socket by itself, so the server is woken, and this process
too, as often as there are statements. For the few rows of an idle system that costs more than anything else.
Here they are put into libpq's buffer first. Values and rows are converted by psycopg, as ever; what lies
beneath is its documented wrapper of libpq, `psycopg.pq`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection, abc, adapt, errors
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import TupleRow
from psycopg.waiting import Ready, Wait

from messaging.arrays import array_literal

Statement = tuple[str, Sequence[Any]]
"""SQL with its parameters, one ``%s`` each; a list becomes an array literal."""

ISOLATION: Final = "READ COMMITTED"
"""What every unit of work is written for: locks are waited for, then what others committed is seen."""

BEGIN: Final[Statement] = (f"BEGIN ISOLATION LEVEL {ISOLATION}", ())
COMMIT: Final[Statement] = ("COMMIT", ())

PREPARED_LIMIT: Final = 200
"""So many statements are prepared on a connection; those beyond are parsed each time."""

_NAMES_LOST: Final = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)
"""The server behind this connection is not the one on which we prepared, or others prepare on it too."""


class Naming:
    """Whether statements may be prepared under names: only on a server that stays ours."""

    def __init__(self) -> None:
        self.allowed = True


class _Form(NamedTuple):
    """What can be prepared: a text for parameters of certain types."""

    query: str
    types: tuple[int, ...]


class _Converted(NamedTuple):
    """A statement as it travels."""

    form: _Form
    values: Sequence[abc.Buffer | None]
    formats: Sequence[int]


class Connection(AsyncConnection[TupleRow]):
    """A connection as psycopg has it, which can also `ask` many things at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._forms: dict[_Form, bytes] = {}
        self._names = _names()
        self.naming = Naming()
        """Connections to one server share what they learn of it."""
        self.pooled = False
        """Whether a pooler stands between: then servers may change hands, and nothing is prepared."""

    async def ask(self, statements: Sequence[Statement]) -> list[list[TupleRow]]:
        """The rows of each statement, executed in order, in a transaction that begins here if none is open.

        Torn in the middle, by a cancellation or a lost connection, it leaves the pipeline on: such a
        connection must not be used again.

        Raises:
            psycopg.DataError: a value that the server could not take; nothing was sent.
            psycopg.Error: of the first statement that failed; the server has skipped those behind it.
        """
        idle = self.pgconn.transaction_status == TransactionStatus.IDLE
        transformer: abc.Transformer = adapt.Transformer(self)
        asked = [_converted(transformer, each) for each in ([BEGIN, *statements] if idle else statements)]
        self.pgconn.enter_pipeline_mode()
        prepared = [self._send(each) for each in asked]
        self.pgconn.pipeline_sync()
        results = iter(await self.wait(_exchange(self.pgconn)))
        self.pgconn.exit_pipeline_mode()
        found = []
        for each, name in zip(asked, prepared, strict=True):
            if name is not None:
                self._check(next(results))
                self._forms[each.form] = name
            found.append(self._rows(transformer, next(results)))
        return found[1:] if idle else found

    def _send(self, statement: _Converted) -> bytes | None:
        """Put it into libpq's buffer; the name under which it is being prepared, if it is."""
        form, values, formats = statement
        known = self._forms.get(form)
        if self.pooled or not self.naming.allowed or (known is None and len(self._forms) >= PREPARED_LIMIT):
            self.pgconn.send_query_params(_numbered(form.query), values, form.types, formats)
            return None
        name = known or next(self._names)
        if known is None:
            self.pgconn.send_prepare(name, _numbered(form.query), form.types)
        self.pgconn.send_query_prepared(name, values, formats)
        return None if known else name

    def _rows(self, transformer: abc.Transformer, result: PGresult) -> list[TupleRow]:
        self._check(result)
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, tuple)

    def _check(self, result: PGresult) -> None:
        if result.status == ExecStatus.FATAL_ERROR:
            error = errors.error_from_result(result, self.info.encoding)
            if isinstance(error, _NAMES_LOST):
                self.naming.allowed = False
            raise error


def _converted(transformer: abc.Transformer, statement: Statement) -> _Converted:
    query, parameters = statement
    values = [array_literal(value) if isinstance(value, list) else value for value in parameters]
    dumped = transformer.dump_sequence(values, [adapt.PyFormat.AUTO] * len(values))
    return _Converted(_Form(query, transformer.types or ()), dumped, transformer.formats or ())


def _names() -> Iterator[bytes]:
    """Nobody else's: where servers change hands unnoticed, none of them ever names another statement."""
    ours = secrets.token_hex(8)
    return (f"oms_{ours}_{number}".encode() for number in count(1))


@lru_cache
def _numbered(query: str) -> bytes:
    """``... = %s AND ... = %s`` → ``... = $1 AND ... = $2``, as the server's protocol has it."""
    first, *rest = query.split("%s")
    return "".join((first, *(f"${number}{text}" for number, text in enumerate(rest, 1)))).encode()


def _exchange(pgconn: PGconn) -> abc.PQGen[list[PGresult]]:
    """Write what is in the buffer, reading what comes meanwhile; then wait for all results.

    Raises:
        psycopg.OperationalError: the connection is lost.
    """
    while pgconn.flush():
        ready = yield Wait.RW
        if ready & Ready.R:
            pgconn.consume_input()
    results: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # the end of one statement's results
            if pgconn.status == ConnStatus.BAD:
                raise psycopg.OperationalError(pgconn.get_error_message())
        elif result.status == ExecStatus.PIPELINE_SYNC:
            return results
        else:
            results.append(result)
