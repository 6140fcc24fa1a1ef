"""Run where the wheel and an extension are installed: takes one saga through, says how it ended.

Started as `python a_saga_through.py DEFINITION DOCUMENT`; the database is OMS_DATABASE_URL's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from oms.orchestrator.intake import Submission  # type: ignore[import-not-found]
from oms.orchestrator.service import Front, OrchestratorService  # type: ignore[import-not-found]

from oms.definitions import registry
from oms.installed_participants import participant_names
from oms.settings import load_settings
from oms.wiring import deployment, migrate, participant_service, parts_of, within_this_process


async def main(name: str, document: str) -> None:
    """Migrate, start every installed participant, submit, wait for the end."""
    settings = load_settings(payment_gateway_url="sandbox", carrier_url="sandbox")
    ended: asyncio.Queue[str] = asyncio.Queue()

    def on_progress(sagas: Sequence[object]) -> None:
        for saga in sagas:
            if saga.has_ended:  # type: ignore[attr-defined]
                ended.put_nowait(saga.label)  # type: ignore[attr-defined]

    async with parts_of(settings, within_this_process()) as parts:
        await migrate(settings)
        made = deployment(parts)
        front = Front(made, on_progress)
        names = participant_names(settings.extensions_off)
        services = [participant_service(parts, each) for each in names]
        running = [*services, OrchestratorService(made, on_progress), front]
        for each in running:
            await each.start()
        given = registry(settings).latest(name).input.model_validate_json(document)
        await front.intake.submit(Submission(name, given, "somebody", parts.new_id(), parts.new_id()))
        sys.stdout.write(f"{await ended.get()}\n")
        for each in running:
            await each.stop()


asyncio.run(main(*sys.argv[1:]))
