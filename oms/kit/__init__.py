"""For people who extend: all that a saga, a participant or a client of a provider needs to import.

What stands in `__all__` here and in the modules of this package is promised: the first number of
`KIT_VERSION` rises when something of it goes. Everything else beneath `oms` may change at any time.

- A **saga** is a `SagaDefinition`, given by an entry point in the group ``oms.sagas``.
- A **participant** is a `Participant`, given in the group ``oms.participants`` under its own name.
- `oms.kit.orders`: orders, and what inventory, payment and shipping understand.
- `oms.kit.providers`: payment gateways and carriers. `oms.kit.migrations`: tables. `oms.kit.testing`: tests.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from contracts.commands import Command
from contracts.events import CompensationOutcome, Effect, Event, OutcomeEvent, Rejection
from contracts.findable import Findable
from contracts.limits import Amount, Code, Line, Name, Quantity, Reference, Text
from contracts.orders import SENSITIVE
from messaging.errors import PermanentFailure, TransientFailure
from oms.setting_files import InvalidSettingFile, read_variable
from orchestrator.core.definition import (
    Announcement,
    Compensation,
    ForEach,
    Group,
    Labels,
    OnDeadline,
    Results,
    SagaDefinition,
    SignalBody,
    SignalledBy,
    Step,
    StepKind,
    StepPolicy,
    Wait,
    no_arguments,
)
from orchestrator.core.following import Earlier, Follower, Follows, NotFollowed
from orchestrator.core.soundness import InvalidDefinition
from participants.kit.declaring import InvalidParticipant
from participants.kit.errands import Errand
from participants.kit.participant import Bench, Participant
from participants.kit.postgresql import SqlKitTransaction
from participants.kit.work import Held, Work

KIT_VERSION: Final = "1.2"
"""Of what this package promises; the second number rises with what is added."""

__all__ = [
    "KIT_VERSION",
    "SENSITIVE",
    "Amount",
    "Announcement",
    "BaseModel",
    "Bench",
    "Code",
    "Command",
    "Compensation",
    "CompensationOutcome",
    "ConfigDict",
    "Earlier",
    "Effect",
    "Errand",
    "Event",
    "Field",
    "Findable",
    "Follower",
    "Follows",
    "ForEach",
    "Group",
    "Held",
    "InvalidDefinition",
    "InvalidParticipant",
    "InvalidSettingFile",
    "Labels",
    "Line",
    "Name",
    "NotFollowed",
    "OnDeadline",
    "OutcomeEvent",
    "Participant",
    "PermanentFailure",
    "Quantity",
    "Reference",
    "Rejection",
    "Results",
    "SagaDefinition",
    "SignalBody",
    "SignalledBy",
    "SqlKitTransaction",
    "Step",
    "StepKind",
    "StepPolicy",
    "Text",
    "TransientFailure",
    "Wait",
    "Work",
    "no_arguments",
    "read_variable",
]
