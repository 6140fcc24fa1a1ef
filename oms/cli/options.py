"""Options that many commands share, and the examples in their help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from orchestrator.core.inputs import Actor

DEFAULT_URL: Final = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option("--url", envvar="OMS_API_URL", metavar="URL", help="Where the API is.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="OMS_ADMIN_TOKEN",
        metavar="TOKEN",
        help="A token (`oms tokens`). On this machine, .oms/admin-token is used when nothing is given.",
        show_default=False,
    ),
]
OrderToken = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar=["OMS_ORDERS_TOKEN", "OMS_ADMIN_TOKEN"],
        metavar="TOKEN",
        help="The token for orders, where the service asks for one.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")]
Cursor = Annotated[
    str | None, typer.Option("--cursor", metavar="CURSOR", help="Go on where an earlier list ended.")
]
Reason = Annotated[
    str,
    typer.Option("--reason", "-r", metavar="TEXT", help="Why; it is kept in the audit log."),
]
MaybeReason = Annotated[
    str | None,
    typer.Option("--reason", "-r", metavar="TEXT", help="Why; needed unless it is a dry run."),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate", min=0.1, max=1000, metavar="N", help="Of a job: so many a second at most (0.1 to 1000)."
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", min=0, max=10_000_000, metavar="SECONDS", help="Longest wait for the end."),
]
Detach = Annotated[bool, typer.Option("--detach", help="Begin the job and leave it to itself.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing. Without a terminal nothing is asked.")]
ExpectedVersion = Annotated[
    int | None,
    typer.Option("--expected-version", min=1, help="Act only on this version; default: the one shown now."),
]

References = Annotated[
    list[str] | None,
    typer.Option("--reference", metavar="TEXT", help="What its owner calls it; may be repeated."),
]
MetadataPairs = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="KEY=VALUE", help="Given this string; may be repeated."),
]


def policies_in(given: typer.FileText) -> str:
    """What a file or a pipe holds. Raises typer.BadParameter for a terminal: nobody types policies."""
    if given.isatty():
        raise typer.BadParameter("name a FILE, or pipe into it what rabbitmqctl lists, as its --help shows")
    return given.read()


def found_by(references: list[str] | None, metadata: list[str] | None) -> dict[str, Any]:
    """Filters by reference and metadata, as the API takes them. Raises typer.BadParameter."""
    filters: dict[str, Any] = {"reference": references or None}
    for pair in metadata or ():
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise typer.BadParameter(f"{pair!r} is not of the form KEY=VALUE", param_hint="--metadata")
        filters.setdefault(f"metadata.{key}", []).append(value)
    return filters


def actor(reason: str) -> Actor:
    """Whoever sits at this terminal, with a reason. Raises BadParameter for one that is none."""
    from pydantic import TypeAdapter, ValidationError

    from oms.embedded.installation import operator_here
    from orchestrator.core.inputs import Actor
    from orchestrator.http.fields import Reason

    try:
        said = TypeAdapter(Reason).validate_python(reason)
    except ValidationError:
        wanted = "--reason takes 1 to 500 printable characters, line breaks and tabs among them"
        raise typer.BadParameter(wanted) from None
    return Actor(operator_here(), said)


def example(*commands: str) -> str:
    """The end of a command's help."""
    return "\n\n".join((f"Example{'s' if len(commands) > 1 else ''}:", *(f"$ {line}" for line in commands)))


def group(name: str, help_text: str, *examples: str) -> typer.Typer:
    """A group of commands; called without a command it shows its help."""
    commands = typer.Typer(
        name=name,
        help=help_text,
        epilog=example(*examples),
        invoke_without_command=True,
        add_completion=False,
    )

    @commands.callback()
    def without_command(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    return commands
