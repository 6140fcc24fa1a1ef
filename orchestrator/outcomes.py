"""Outcome events from the broker: decode at the edge, hand to the engine (S1, S13, S16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from pydantic import ValidationError

from contracts.envelope import EVENT_ID
from contracts.events import OutcomeEvent
from contracts.flaws import flaws_in_line
from messaging.compose import check_envelope, traceparent_of
from messaging.consumer import Failed
from messaging.errors import Poison
from messaging.log_context import ids_of
from messaging.retries import parse_id
from messaging.transport import Delivery
from orchestrator.core.inputs import outcome_of
from orchestrator.dead_letters.collector import replay_of
from orchestrator.engine import Engine, Happening, UnknownSaga, UnknownVersion, UnreadableSaga
from orchestrator.orphans import ACTION, subject_of
from orchestrator.storage import OrchestratorTransaction

log = structlog.get_logger(__name__)


def decode_outcome(delivery: Delivery, events: Mapping[str, type[OutcomeEvent]]) -> Happening:
    """The input that an outcome event is.

    Args:
        events: every event that can answer a command, by its type.

    Raises:
        Poison: it is not an outcome event that this version understands.
    """
    saga_id = check_envelope(delivery)
    model = events.get(delivery.type or "")
    if model is None:
        raise Poison("unknown_type", f"{str(delivery.type)[:80]!r} is not an outcome event")
    try:
        event = model.model_validate_json(delivery.body)
    except ValidationError as error:
        raise Poison("undecodable", flaws_in_line(error)) from None
    if event.saga_id != saga_id:
        raise Poison("bad_envelope", "correlation_id and the body's saga_id differ")
    outcome = outcome_of(event, parse_id(str(delivery.headers.get(EVENT_ID, ""))))
    return Happening(saga_id, outcome, delivery.message_id, traceparent_of(delivery))


@dataclass(frozen=True, slots=True)
class OutcomeHandler:
    """Handles batches from the outcome queue."""

    engine: Engine

    async def __call__(
        self, transaction: OrchestratorTransaction, deliveries: Sequence[Delivery]
    ) -> Sequence[Failed]:
        """Fold every outcome that can be understood; name the others."""
        failures: list[Failed] = []
        understood: list[tuple[Delivery, Happening]] = []
        for delivery in deliveries:
            try:
                understood.append((delivery, decode_outcome(delivery, self.engine.registry.events)))
            except Poison as error:
                failures.append(Failed(delivery, error))
        answers = await self.engine.apply(transaction, [happening for _, happening in understood])
        unknown: list[tuple[Delivery, UUID]] = []
        replayed: list[str] = []
        for (delivery, happening), answer in zip(understood, answers, strict=True):
            if isinstance(answer, UnknownSaga):
                unknown.append((delivery, happening.saga_id))
            elif isinstance(answer, UnknownVersion):
                log.error(
                    "outcome for a definition version that is not known here; a re-send will bring it again",
                    definition=answer.definition,
                    version=answer.version,
                    **ids_of(delivery),
                )
            elif isinstance(answer, UnreadableSaga):
                log.error(
                    "outcome for a saga that cannot be read; once it can, a re-send will bring it again",
                    problem=answer.reason,
                    **ids_of(delivery),
                )
            elif (work_key := replay_of(delivery)) is not None:
                replayed.append(work_key)
        if replayed:
            transaction.resolve_replayed(replayed, "its replay was handled", await transaction.now())
        return [*failures, *await self._of_nobody(transaction, unknown)] if unknown else failures

    async def _of_nobody(
        self, transaction: OrchestratorTransaction, unknown: Sequence[tuple[Delivery, UUID]]
    ) -> list[Failed]:
        """S16. Behind the low-water mark the saga has been pruned, and what still comes is stale (S1, P7).

        So is what participants answer to the taking back of what they held for a saga that is gone.
        """
        mark = await transaction.low_water_mark()
        subjects = [subject_of(saga_id) for _, saga_id in unknown]
        taken_back = await transaction.audited(ACTION, subjects)
        strange = [
            (delivery, saga_id)
            for delivery, saga_id in unknown
            if (mark is None or saga_id >= mark) and subject_of(saga_id) not in taken_back
        ]
        self.engine.counts["stale"] += len(unknown) - len(strange)
        return [
            Failed(delivery, Poison("unknown_saga", f"there is no saga {saga_id}"))
            for delivery, saga_id in strange
        ]
