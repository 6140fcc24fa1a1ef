"""What the checks of a participant play with, and the order in which they are played."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from oms.conformance.case import Case
from oms.conformance.repertoire import Example, Repertoire
from oms.conformance.stand_in import StandIn
from oms.conformance.verdict import Broken, NotTried, Report, Result

Restart = Callable[[], Awaitable[None]]
"""Kills the participant, and returns when it has been started again."""

RESTARTED_WITHIN_S: Final = 120.0
"""Seconds that the participant gets to consume again once its restart command has ended."""

Tell = Callable[[str], None]
"""Is told which check begins."""


@dataclass(slots=True)
class Play:
    """One participant on trial.

    Attributes:
        burst: commands that are sent at once.
        prefetch: most commands that one consumer of the participant may hold unacknowledged.
        restart: None where nobody said how; what needs it is not tried.
    """

    stand_in: StandIn
    repertoire: Repertoire
    burst: int = 1000
    prefetch: int = 500
    restart: Restart | None = None

    def case(self, example: Example, **given: UUID | str) -> Case:
        """A new saga for a piece of work; see `Case` for what may be ``given``."""
        return Case(self.stand_in, self.repertoire, example, **given)  # type: ignore[arg-type]

    async def killed(self) -> None:
        """Kill the participant and have it started again. Raises NotTried where nobody said how."""
        if self.restart is None:
            raise NotTried("--restart was not given")
        await self.restart()
        await asyncio.sleep(self.stand_in.patience.grace_s)  # until the broker has noticed
        await self.stand_in.require_consumer(RESTARTED_WITHIN_S)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is tried.

    Attributes:
        rules: the rules that it is about.
        once: tried with the first work alone, because it is about the participant as a whole.
    """

    name: str
    rules: tuple[str, ...]
    run: Callable[[Play, Example], Awaitable[None]]
    once: bool = False


async def performed(play: Play, first: Check, checks: Sequence[Check], tell: Tell) -> Report:
    """Try everything with every work; where ``first`` fails there is no point in the others."""
    report = Report(play.stand_in.participant)
    answered = [
        example for example in play.repertoire.works if await _try(play, first, example, report, tell)
    ]
    for check in checks:
        for example in answered[:1] if check.once else answered:
            await _try(play, check, example, report, tell)
    for example in play.repertoire.works:
        if example not in answered:
            note = "its first command was not done"
            report.results.append(Result("everything else", example.command, (), note=note))
    return report


async def _try(play: Play, check: Check, example: Example, report: Report, tell: Tell) -> bool:
    subject = "" if check.once else example.command
    tell(f"{check.name} {subject}".strip())
    began, findings, note = time.monotonic(), (), ""
    try:
        await check.run(play, example)
    except Broken as broken:
        findings = broken.findings  # type: ignore[assignment]
    except NotTried as reason:
        note = str(reason)
    seconds = time.monotonic() - began
    report.results.append(Result(check.name, subject, check.rules, findings, note, seconds))
    return not findings
