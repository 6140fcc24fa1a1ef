"""Pages from templates: everything escaped, nothing inline, nothing from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_HERE: Final = __name__.rpartition(".")[0]

_KINDS: Final[Mapping[str, str]] = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_FOREVER: Final = "public, max-age=31536000, immutable"


class StaticFiles:
    """The console's own files, held in memory; an address changes with its content."""

    def __init__(self) -> None:
        folder = files(_HERE) / "static"
        self._contents = {name: (folder / name).read_bytes() for name in _KINDS}
        self._digests = {
            name: hashlib.sha256(content).hexdigest()[:12] for name, content in self._contents.items()
        }

    def address(self, name: str) -> str:
        """Where a file is."""
        return f"/console/static/{name}?v={self._digests[name]}"

    def response(self, name: str, version: str | None) -> Response | None:
        """A file; None where there is none of that name.

        Args:
            version: as the address has it. While replicas are replaced one by one, a page of one asks another
                for its files: under the address of another version's file nobody is to keep this one.
        """
        content = self._contents.get(name)
        if content is None:
            return None
        kept = _FOREVER if version == self._digests[name] else "no-store"
        headers = {**SECURITY_HEADERS, "Cache-Control": kept}
        return Response(content, 200, headers, media_type=_KINDS[name])


class Renderer:
    """Makes pages."""

    def __init__(self, static: StaticFiles, version: str, now: Callable[[], datetime]) -> None:
        self._now = now
        self._environment = Environment(
            loader=PackageLoader(_HERE),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=visible,
        )
        self._environment.globals.update(static=static.address, version=version)
        self._environment.filters.update(
            moment=moment,
            clock=clock,
            duration=duration,
            ago=self._ago,
            words=words,
            pretty=pretty,
            short=short,
            brief=brief,
        )

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page, never kept by anybody on the way."""
        text = self._environment.get_template(template).render(now=self._now(), **values)
        headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
        return Response(text, status, headers, media_type="text/html; charset=utf-8")

    def _ago(self, at: datetime) -> str:
        seconds = (self._now() - at).total_seconds()
        return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def redirect(path: str) -> Response:
    """See another page instead."""
    return Response(
        status_code=303, headers={**SECURITY_HEADERS, "Location": path, "Cache-Control": "no-store"}
    )


def visible(value: Any) -> Any:
    """Text in which nothing steers how the rest is read: no controls, no marks that turn its direction."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", value) if type(value) is str else value


_STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
    # Joiners belong to pictures made of several, and to scripts whose letters join: not to Latin.
    "|(?<![\u0600-\u1fff\u2600-\u27bf\ufe0f\U00010000-\U0010ffff])[\u200c\u200d]"
)


BRIEF: Final = 80
"""Characters of a value on one line."""


def moment(at: datetime) -> str:
    """A time in full."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def clock(at: datetime) -> str:
    """A time of day, to the millisecond."""
    return at.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]


def duration(seconds: float | timedelta) -> str:
    """A length of time for people, with two digits that matter."""
    total = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if total < 1:
        return f"{total * 1000:.0f} ms"
    if total < 60:
        return f"{total:.1f} s".replace(".0 ", " ") if total < 10 else f"{total:.0f} s"
    for unit, size, smaller, part in _UNITS:
        if total >= size:
            whole, rest = divmod(total, size)
            return f"{whole:.0f} {unit}" + (f" {rest // part:.0f} {smaller}" if rest >= part else "")
    raise AssertionError("a minute is the smallest unit")


_UNITS: Final = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))


def words(name: object) -> str:
    """A name as people write it: ``compensation_stuck`` → ``compensation stuck``."""
    return str(name).replace("_", " ")


def short(identity: object) -> str:
    """The end of an id, where time-ordered ones differ."""
    return f"…{str(identity)[-12:]}"


def brief(value: Any) -> str:
    """A value on one line, cut where it is long: ``location harbour, lines (sku MUG-BLUE, quantity 2)``."""
    text = _told(value)
    return text if len(text) <= BRIEF else f"{text[: BRIEF - 1]}…"


def _told(value: Any) -> str:
    match value:
        case str():
            return value
        case Mapping() | list() | tuple() if not value:
            return "none"
        case Mapping():
            return ", ".join(f"{name} {_within(each)}" for name, each in value.items())
        case list() | tuple():
            return "; ".join(map(_told, value))
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)


def _within(value: Any) -> str:
    return f"({_told(value)})" if value and isinstance(value, Mapping | list | tuple) else _told(value)


def pretty(document: Any) -> str:
    """JSON for reading."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=str)
