"""A database URL as people write it, one server or several, in the one form that every client here reads.

libpq writes several servers as `host1:5432,host2:5432`, SQLAlchemy as `?host=host1:5432&host=host2:5432`, and
neither understands the other. Both understand `?host=host1,host2&port=5432,5432`, so that is what is kept.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVER: Final = "postgresql+psycopg"
_SCHEMES: Final = ("postgresql", "postgres", _DRIVER)
ALLOWED: Final = (
    "allowed is a URL such as postgresql://user:password@host:5432/database "
    "(several servers with commas between: @host1:5432,host2:5432)"
)


def database_url(given: str) -> str:
    """The URL for SQLAlchemy and psycopg; of several servers the one that may be written to is asked for.

    Raises ValueError, whose text says what is allowed and never shows the password.
    """
    scheme, _, rest = given.partition("://")
    try:
        url = _several_servers(rest) or make_url(f"{_DRIVER}://{rest}")
    except (ArgumentError, ValueError, psycopg.ProgrammingError):
        raise ValueError(ALLOWED) from None
    if scheme not in _SCHEMES or not url.database:
        raise ValueError(ALLOWED)
    return url.render_as_string(hide_password=False)


def _several_servers(rest: str) -> URL | None:
    """None where one server alone is named, before the path."""
    if "host" in parse_qs(rest.partition("?")[2]):
        url = make_url(f"{_DRIVER}://{rest}")
        return _url(dict(url.get_dialect()().create_connect_args(url)[1]))
    if "," in rest.partition("/")[0].rpartition("@")[2]:
        return _url(conninfo_to_dict(f"postgresql://{rest}"))
    return None


def _url(options: dict[str, Any]) -> URL:
    account = {name: options.pop(name, None) for name in ("user", "password", "dbname")}
    hosts, ports = options["host"].split(","), str(options.get("port", "")).split(",")
    if not all(hosts) or not all(port.isdecimal() for port in ports if port):
        raise ValueError(ALLOWED)
    if len(hosts) > 1:
        options.setdefault("target_session_attrs", "read-write")
    return URL.create(_DRIVER, account["user"], account["password"], None, None, account["dbname"], options)
