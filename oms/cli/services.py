"""The commands that serve: everything at once, or one service; and what prepares database and broker."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from contracts.routing import PARTICIPANTS, Batches
from oms.cli import output
from oms.cli.options import AsJson, example, policies_in

LOOPBACK: Final = "127.0.0.1"
_PANEL: Final = "Servers"
_PREPARING: Final = "Preparing"

Host = Annotated[str, typer.Option("--host", metavar="HOST", help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")]


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    for name, command, examples in (
        ("run", run, ("oms run", "oms run --port 8080 --demo")),
        ("api", api, ("OMS_DATABASE_URL=… OMS_BROKER_URL=… oms api --host 0.0.0.0",)),
        ("orchestrator", orchestrator, ("OMS_DATABASE_URL=… OMS_BROKER_URL=… oms orchestrator",)),
        ("participant", participant, ("OMS_DATABASE_URL=… OMS_BROKER_URL=… oms participant inventory",)),
        ("sandbox", sandbox, ("oms sandbox --port 8001",)),
    ):
        app.command(name, epilog=example(*examples), rich_help_panel=_PANEL)(command)
    app.command("migrate", epilog=example("oms migrate"), rich_help_panel=_PREPARING)(migrate)
    app.add_typer(broker, rich_help_panel=_PREPARING)


def run(
    host: Host = LOOPBACK,
    port: Port = 8000,
    demo: Annotated[bool, typer.Option("--demo", help="Fill in stock and sample orders.")] = False,
) -> None:
    """Run all services in one process; what is not configured is embedded. For this machine alone."""
    from oms import processes

    if demo:
        from oms.demo import run_with_samples

        _serve(lambda settings: run_with_samples(settings, host, port))
    else:
        _serve(lambda settings: processes.run(settings, host, port))


def api(host: Host = LOOPBACK, port: Port = 8000) -> None:
    """Run the HTTP API and the console."""
    from oms import processes

    _serve(lambda settings: processes.run_api(settings, host, port))


def orchestrator() -> None:
    """Run the orchestrator: it takes outcomes, decides, sends commands, and looks after what is due."""
    from oms import processes

    _serve(processes.run_orchestrator)


def _known(name: str) -> str:
    from oms.installed_participants import participant_names

    names = participant_names(_settings().extensions_off)
    if name not in names:
        raise typer.BadParameter(f"one of {', '.join(names)}")
    return name


def participant(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", callback=_known, help=f"{', '.join(PARTICIPANTS)}, or an installed one."
        ),
    ],
) -> None:
    """Run one participant."""
    from oms import processes

    _serve(lambda settings: processes.run_participant(settings, name))


def sandbox(host: Host = LOOPBACK, port: Port = 8001) -> None:
    """Run a payment gateway and a carrier to play against."""
    from oms import processes

    _serve(lambda settings: processes.run_sandbox(settings, host, port))


Installation = Annotated[
    UUID | None,
    typer.Option(
        "--installation", metavar="UUID", help="Which installation it is; by default as the databases say."
    ),
]


def migrate(installation: Installation = None, as_json: AsJson = False) -> None:
    """Create or upgrade the schemas of all services whose database is configured.

    All get one identity, which is made the first time; `oms installation show` shows it.
    """
    from oms import processes

    applied = _serve(lambda settings: processes.run_migrate(settings, installation))
    if as_json:
        output.show_json({service: list(revisions) for service, revisions in applied.items()})
        return
    for service, revisions in applied.items():
        output.show(output.plain(f"{service}: {', '.join(revisions) or 'up to date'}"))


broker = typer.Typer(name="broker", help="Prepare RabbitMQ.", no_args_is_help=False)


@broker.callback(invoke_without_command=True, epilog=example("oms broker setup"))
def _broker(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@broker.command("setup", epilog=example("OMS_BROKER_URL=amqp://… oms broker setup"))
def setup(
    installation: Installation = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Also where it is marked as another installation's.")
    ] = False,
    batches: Annotated[
        Batches | None,
        typer.Option("--batches", help="What may travel in batches from now on; without it that stays."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Declare exchanges, queues and bindings; tells what was changed. Doing it again changes nothing.

    Marks the virtual host as this installation's, which a database of the settings knows.
    """
    from oms import broker_setup

    work = broker_setup.take_over if take_over else broker_setup.set_up
    changes = _serve(lambda settings: work(settings, installation, batches))
    if as_json:
        output.show_json({"changes": changes})
        return
    for change in changes:
        output.show(output.plain(change))
    if not changes:
        output.show(output.plain("nothing to change"))


@broker.command(
    "check",
    epilog=example(
        "(rabbitmqctl -q list_policies --formatter json; "
        "rabbitmqctl -q list_operator_policies --formatter json) | oms broker check"
    ),
)
def check(
    policies: Annotated[
        typer.FileText,
        typer.Argument(
            metavar="FILE",
            encoding="utf-8-sig",
            errors="replace",
            help="What rabbitmqctl lists as JSON; - is stdin.",
        ),
    ] = "-",  # type: ignore[assignment]
    as_json: AsJson = False,
) -> None:
    """Say which policies at the broker would lose messages of ours; ends with 1 when there are any."""
    from oms import broker_policies, broker_setup

    listed = policies_in(policies)
    queues = broker_setup.queues(_settings())
    found = broker_policies.harms(broker_policies.read(listed), queues)
    if as_json:
        output.show_json({"harms": found})
    else:
        for harm in found or ["no policy harms our queues"]:
            output.show(output.plain(harm))
    if found:
        raise typer.Exit(1)


def _settings() -> Any:
    from oms.settings import load_settings

    return load_settings()


def _serve(work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Run a service on a fast event loop, with the environment's settings. Raises InvalidSettings."""
    import uvloop

    from oms.settings import load_settings

    return uvloop.run(work(load_settings()))
