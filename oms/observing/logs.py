"""Structured logs: readable on a terminal, JSON otherwise, with the ids of what is being worked on."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, Final

import structlog
from rich.console import Console
from structlog.typing import EventDict, ExcInfo, Processor

from contracts.sensitive import MASK, SENSITIVE_NAMES
from oms.log_writer import log_handler
from oms.observing.sampling import Sampling
from oms.settings import Settings

_SECRET_NAMES: Final = frozenset(
    {
        "password",
        "token",
        "authorization",
        "admin_token",
        "orders_token",
        "saga_tokens",
        "client_secret",
        "id_token",
        "access_token",
        "logout_token",
    }
)


def configure_logs(settings: Settings, service: str, *contexts: Processor) -> None:
    """Send every log of the process, the libraries' included, through one renderer to standard error.

    Whoever logs never waits for whoever reads the log, see `LogWriter`.

    Args:
        contexts: put further ids into each event.
    """
    renders_json = settings.log_format == "json" or (settings.log_format is None and not sys.stderr.isatty())
    hidden = SENSITIVE_NAMES | _SECRET_NAMES
    sampling: list[Processor] = [] if settings.log_repeats is None else [Sampling(settings.log_repeats)]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *contexts,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Masking(hidden),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if renders_json
        else structlog.dev.ConsoleRenderer(colors=_has_colours())
    )
    readable: list[Processor] = [] if renders_json else [_without_controls]
    tracebacks = structlog.processors.ExceptionRenderer(discreet_traceback)
    structlog.configure(
        processors=[*sampling, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = log_handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                tracebacks,
                *readable,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    for noisy in ("aiormq", "aio_pika", "uvicorn.access", "alembic", "asyncio", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)


def _has_colours() -> bool:
    """As on the command line: on a terminal, unless NO_COLOR, FORCE_COLOR or TERM say otherwise."""
    console = Console(file=sys.stderr)
    return console.color_system is not None and not console.no_color


def _without_controls(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """What somebody else has written cannot steer the terminal; JSON has escapes for that."""
    return {name: _printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _printable(words: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in words)


def discreet_traceback(exc_info: ExcInfo) -> str:
    """A traceback that tells where, and nothing of anybody's data.

    Without local variables, and without what PostgreSQL adds to an error: whole rows and parameters.
    """
    lines = "".join(traceback.format_exception(*exc_info)).rstrip().splitlines()
    return "\n".join(line for line in lines if not line.startswith(_WITH_DATA))


_WITH_DATA: Final = ("DETAIL:", "CONTEXT:", "[parameters:", "[SQL:")


class _Masking:
    """Replaces the values of sensitive fields, wherever they stand in an event."""

    def __init__(self, hidden: frozenset[str]) -> None:
        self._hidden = hidden

    def __call__(self, logger: Any, method: str, event: EventDict) -> EventDict:
        return {name: self._masked(name, value) for name, value in event.items()}

    def _masked(self, name: str, value: Any) -> Any:
        if name in self._hidden:
            return MASK
        if isinstance(value, dict):
            return {key: self._masked(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked("", item) for item in value]
        return value
