"""A kit participant as a process."""

from __future__ import annotations

from messaging.consumer import Consumer, Hops
from messaging.installation import Identity
from messaging.topology import batches_of_commands
from messaging.transport import Subscription, Topology
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

    asked = (batches_of_commands(participant.name),) if participant.takes_batches else ()
    asking = Topology(bindings=asked)
    return ParticipantService(participant.name, deployment, storage, worker, asking=asking)
