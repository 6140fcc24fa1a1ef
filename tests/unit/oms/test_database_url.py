"""Database URLs: each way to write several servers comes out as one that every client here reads."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from oms.database_url import database_url


def as_libpq_reads_it(url: str) -> dict[str, object]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return {name: value for name, value in conninfo_to_dict(plain).items() if value is not None}


def as_sqlalchemy_reads_it(url: str) -> dict[str, object]:
    parsed = make_url(url)
    return dict(parsed.get_dialect()().create_connect_args(parsed)[1])


@pytest.mark.parametrize(
    ("given", "hosts", "ports"),
    [
        ("postgresql://u:p%40@h1:1,h2:2/db", "h1,h2", "1,2"),
        ("postgres://u:p%40@h1:1,h2/db", "h1,h2", "1,"),
        ("postgresql://u:p%40@h1,h2:2/db", "h1,h2", ",2"),
        ("postgresql://u:p%40@[::1]:1,[::2]:2/db", "::1,::2", "1,2"),
        ("postgresql+psycopg://u:p%40@/db?host=h1:1&host=h2:2", "h1,h2", "1,2"),
        ("postgresql://u:p%40@/db?host=h1&host=h2:2", "h1,h2", ",2"),
        ("postgresql://u:p%40@/db?host=h1,h2&port=1,2", "h1,h2", "1,2"),
    ],
)
def test_several_servers_are_understood_however_they_are_written(given: str, hosts: str, ports: str) -> None:
    expected = {
        "user": "u",
        "password": "p@",
        "dbname": "db",
        "host": hosts,
        "port": ports,
        "target_session_attrs": "read-write",
    }
    url = database_url(given)
    assert as_libpq_reads_it(url) == expected
    assert as_sqlalchemy_reads_it(url) == expected
    assert database_url(url) == url


def test_which_of_several_servers_is_wanted_may_be_said() -> None:
    url = database_url("postgresql://u@h1,h2/db?target_session_attrs=prefer-standby&sslmode=verify-full")
    assert as_libpq_reads_it(url)["target_session_attrs"] == "prefer-standby"
    assert as_libpq_reads_it(url)["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    "given",
    [
        "postgresql+psycopg://u:p@host:5432/db?sslmode=require",
        "postgresql+psycopg://host/db",
        "postgresql+psycopg:///db",
    ],
)
def test_one_server_stays_as_it_is(given: str) -> None:
    assert database_url(given) == given
    assert "target_session_attrs" not in database_url(given)


def test_a_socket_is_one_server() -> None:
    assert as_libpq_reads_it(database_url("postgresql:///db?host=/run/postgresql")) == {
        "dbname": "db",
        "host": "/run/postgresql",
    }


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:secret@h1:1,h2:2",
        "postgresql://u:secret@h1:1,h2:x/db",
        "postgresql://u:secret@h1,/db",
        "postgresql://u:secret@/db?host=h1&host=h2&port=1",
        "postgresql://u:secret@/db?host=h1,h2&port=1",
        "postgresql://u:secret@host:port/db",
        "mysql://u:secret@h1,h2/db",
        "secret",
    ],
)
def test_what_cannot_be_used_is_refused_with_what_is_allowed(given: str) -> None:
    with pytest.raises(ValueError, match="@host1:5432,host2:5432") as refused:
        database_url(given)
    assert "secret" not in str(refused.value)
