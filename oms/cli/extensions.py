"""`oms extensions`: what is installed beside the program itself."""

from __future__ import annotations

from typing import Any, Final

import typer

from oms.cli import output
from oms.cli.options import AsJson, example

_PANEL: Final = "Whole system"


def add_to(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command(
        "extensions", epilog=example("oms extensions", "oms extensions --json"), rich_help_panel=_PANEL
    )(extensions)


def extensions(as_json: AsJson = False) -> None:
    """List the sagas, participants, gateways and carriers that installed packages bring.

    Ends with 1 when one of them cannot be used; its state says why.
    """
    from oms.extensions import everything_installed
    from oms.settings import load_settings

    settings = load_settings()
    rows = [_looked_at(each, settings) for each in everything_installed()]
    if as_json:
        output.show_json({"extensions": rows})
    elif rows:
        columns = ("group", "name", "distribution", "version", "state")
        output.show(output.table(columns, [[output.plain(row[name]) for name in columns] for row in rows]))
    else:
        output.show(output.plain("nothing is installed that extends oms"))
    if any(row["state"] not in ("on", "off") for row in rows):
        raise typer.Exit(1)


def _looked_at(extension: Any, settings: Any) -> dict[str, Any]:
    return {
        "group": extension.group,
        "name": extension.name,
        "distribution": extension.distribution,
        "version": extension.version,
        "state": _state(extension, settings),
    }


def _state(extension: Any, settings: Any) -> str:
    """On, off, or what is wrong with it."""
    from oms.definitions import definition_of
    from oms.extensions import KIT_PARTICIPANTS, SAGAS, load
    from oms.failures import Failure
    from oms.installed_participants import participant_named

    if extension.distribution in settings.extensions_off:
        return "off"
    try:
        if extension.group == KIT_PARTICIPANTS:
            participant_named(extension.name)
        elif extension.group == SAGAS:
            definition_of(extension, settings.step_policy)
        else:
            load(extension)
    except Failure as error:
        return str(error)
    return "on"
