"""A kit participant as a process."""

from __future__ import annotations

from messaging.consumer import Consumer, Hops
from messaging.installation import Identity
from messaging.transport import Subscription
from messaging.unit_of_work import UnitOfWork
from participants.kit.handler import KitHandler
from participants.kit.participant import Participant
from participants.kit.storage import KitTransaction
from participants.service import Deployment, ParticipantService, Storage, Worker


def kit_service(deployment: Deployment, storage: Storage, participant: Participant) -> ParticipantService:
    """Consumes the participant's commands, as the built-in ones are consumed."""

    def worker(
        subscription: Subscription, unit_of_work: UnitOfWork[KitTransaction], hops: Hops, identity: Identity
    ) -> Worker:
        handler = KitHandler(participant, deployment.new_id)
        limit, tracing = deployment.pace.batch_limit, deployment.tracing
        return Consumer(subscription, unit_of_work, handler, hops, limit, tracing, identity)

    return ParticipantService(participant.name, deployment, storage, worker)
