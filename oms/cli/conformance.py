"""`oms conformance`: is a participant, a payment gateway or a carrier as the rules want it?"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from oms.cli import output
from oms.cli.options import AsJson, example
from oms.cli.progress import progress_bar
from oms.failures import Failure

if TYPE_CHECKING:
    from oms.conformance.play import Tell
    from oms.conformance.verdict import Report

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_CLIENT: Final = "its URL, `sandbox`, an extension's name, or module:function"
_FORMAT: Final = """\
FILE for a participant (the ids, step and direction of each command are filled in):

{"works": [{"step": "account", "command": "OpenAccount", "body": {"customer": "c-{saga_id}-{step}"},
"other_body": {"customer": "d-{saga_id}-{step}"},
"success": {"type": "AccountOpened", "key": "loyalty.opened"},
"rejection": {"type": "NotEligible", "key": "loyalty.refused", "body": {"customer": "nobody"}},
"compensation": {"command": "CloseAccount", "body": {},
"answer": {"type": "AccountClosed", "key": "loyalty.closed"}}}]}

FILE for a gateway: {"payment_method": "pm_good", "declined": "pm_bad", "amount": 1299, "currency": "EUR"};
for a carrier: {"sku": "SKU-1", "quantity": 2, "address": {...}, "refused": {"postal_code": "00000"}}."""


def add_to(app: typer.Typer) -> None:
    """Put the command on the command line."""
    examples = example(
        "oms conformance inventory --broker-url amqp://guest:guest@127.0.0.1:5672/trial",
        'oms conformance loyalty --commands loyalty.json --restart "./restart.sh" --junit loyalty.xml',
        "oms conformance --gateway https://pay.test/v1 --commands gateway.json",
        "oms conformance --carrier sandbox",
    )
    app.command("conformance", epilog=f"{_FORMAT}\n\n{examples}", rich_help_panel="Whole system")(conformance)


def _checked_name(name: str | None) -> str | None:
    if name is not None and not _NAME.fullmatch(name):
        raise typer.BadParameter("lower case letters, digits, '_', '.' and '-', at most 64")
    return name


Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", callback=_checked_name, help="A participant, whose queue is NAME.commands."
    ),
]
BrokerUrl = Annotated[
    str | None,
    typer.Option(
        "--broker-url",
        metavar="URL",
        help="A virtual host where the participant is at work and no orchestrator; default: OMS_BROKER_URL.",
    ),
]
Commands = Annotated[
    Path | None,
    typer.Option("--commands", metavar="FILE", help="Examples as JSON, see below; built in for our own."),
]
Restart = Annotated[
    str | None,
    typer.Option(
        "--restart", metavar="COMMAND", help="Kills the participant and starts it again, then ends."
    ),
]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML as well.")]
Gateway = Annotated[
    str | None,
    typer.Option(
        "--gateway",
        metavar="WHICH",
        help=f"A gateway: {_CLIENT}.",
    ),
]
Carrier = Annotated[
    str | None,
    typer.Option(
        "--carrier",
        metavar="WHICH",
        help=f"A carrier: {_CLIENT}.",
    ),
]
Burst = Annotated[int, typer.Option("--burst", min=10, max=10_000, help="Commands that are sent at once.")]
Prefetch = Annotated[
    int, typer.Option("--prefetch", min=1, max=65535, help="Most that one consumer may hold unacknowledged.")
]
AnswerWithin = Annotated[
    float,
    typer.Option("--answer-within", min=0.5, max=600, metavar="S", help="Seconds an answer is waited for."),
]
OverLeftovers = Annotated[
    bool, typer.Option("--yes", "-y", help="Go on although messages lie in the participant's queues.")
]


def conformance(
    name: Name = None,
    broker_url: BrokerUrl = None,
    commands: Commands = None,
    restart: Restart = None,
    junit: Junit = None,
    gateway: Gateway = None,
    carrier: Carrier = None,
    burst: Burst = 1000,
    prefetch: Prefetch = 500,
    answer_within: AnswerWithin = 10.0,
    yes: OverLeftovers = False,
    as_json: AsJson = False,
) -> None:
    """Play the orchestrator against a participant, or a participant against a provider, and judge it.

    What is asked for is done: stock is held, money is taken and given back, parcels are ordered. So give a
    participant a broker, a database and a provider of its own. Exits with 1 when a rule was broken.
    """
    given = [each for each in (name, gateway, carrier) if each is not None]
    if len(given) != 1:
        raise typer.BadParameter("one of NAME, --gateway and --carrier is needed")
    with progress_bar() as progress:
        task = progress.add_task("conformance", total=None)

        def tell(check: str) -> None:
            progress.update(task, description=check)

        if name is not None:
            given_options = {"burst": burst, "prefetch": prefetch, "restart": restart, "over_leftovers": yes}
            report = asyncio.run(_participant(name, broker_url, commands, answer_within, given_options, tell))
        else:
            report = asyncio.run(_provider(gateway, carrier, commands, tell))
    if junit is not None:
        from oms.conformance.junit import write_junit

        write_junit([report], junit)
    if as_json:
        output.show_json(report.as_json())
    else:
        from oms.cli import conformance_view

        conformance_view.show(report)
    if not report.ok:
        raise typer.Exit(1)


async def _participant(
    name: str,
    broker_url: str | None,
    commands: Path | None,
    answer_within_s: float,
    given: dict[str, Any],
    tell: Tell,
) -> Report:
    from oms.conformance.broker import Trial, on_rabbitmq
    from oms.conformance.built_in import built_in
    from oms.conformance.repertoire import read_repertoire
    from oms.conformance.stand_in import Patience
    from oms.observing.logs import configure_logs
    from oms.settings import load_settings

    settings = load_settings() if broker_url is None else load_settings(broker_url=broker_url)
    if "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "error"})
    configure_logs(settings, "conformance")
    repertoire = built_in(name) if commands is None else read_repertoire(commands)
    delays_s = settings.retry_policy.delays_s
    trial = Trial(name, repertoire, delays_s, Patience(answer_within_s), **given)
    return await on_rabbitmq(settings.required_broker_urls(), trial, tell)


async def _provider(gateway: str | None, carrier: str | None, commands: Path | None, tell: Tell) -> Report:
    from oms.conformance.providers import carrier_report, charges, gateway_report, shipments
    from oms.conformance.repertoire import read_examples
    from oms.conformance.subjects import carrier_named, gateway_named

    if gateway is not None:
        paying = (
            charges.OF_THE_SANDBOX if commands is None else read_examples(commands, charges.ChargeExamples)
        )
        async with gateway_named(gateway) as asked:
            return await gateway_report("gateway", asked, paying, tell)
    if carrier is None:
        raise Failure("neither a gateway nor a carrier was named")
    going = (
        shipments.OF_THE_SANDBOX if commands is None else read_examples(commands, shipments.ShipmentExamples)
    )
    async with carrier_named(carrier) as shipping:
        return await carrier_report("carrier", shipping, going, tell)
