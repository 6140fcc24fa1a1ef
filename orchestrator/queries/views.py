"""What is shown of orders, sagas, dead letters and the audit log: one model a view, nothing sensitive."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, computed_field

from contracts.envelope import Direction
from contracts.findable import absent
from contracts.returns import Disposition
from contracts.words import Word
from orchestrator.core.definition import OnDeadline, SignalledBy, StepKind
from orchestrator.core.state import End, IncidentKind, Status
from orchestrator.queries.paging import Listing
from orchestrator.sagas.order_fulfillment import OrderStatus
from orchestrator.storage import DeadLetterStatus


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Time = Annotated[datetime, AfterValidator(_utc)]
"""Shown in RFC 3339, always in UTC."""


class View(BaseModel):
    """Base of what is shown."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Labelled(View):
    """Base of what shows where a saga stands in its definition's own words."""

    order_status: str = Field(description="The same as `label`, by the name that it had for orders")

    @computed_field(description="Where it stands, in its definition's own words")  # type: ignore[prop-decorator]
    @property
    def label(self) -> str:
        """See above."""
        return self.order_status


ABOUT = Field(description="What it is about: its order; the saga itself where it is about no order")


class FailureView(View):
    """Why a saga turned round, so that an order will not be fulfilled."""

    code: str = Field(description="Such as out_of_stock, payment_declined, step_deadline or cancelled")
    message: str


def _or_none_at_all(metadata: Any) -> Any:
    return {} if metadata is None else metadata


MarkedWith = Annotated[
    dict[str, str],
    BeforeValidator(_or_none_at_all),
    Field(description="Short strings by key that it was given, by which it is found"),
]
CALLED = Field(None, description="What its owner calls it; null where it was given no reference")


class LineView(View):
    """So many of one product."""

    sku: str
    quantity: int
    unit_price: int = Field(description="In minor units of the order's currency")


class ParcelLineView(View):
    """So many of one product in a parcel."""

    sku: str
    quantity: int


class ParcelView(View):
    """One of the parcels of an order, from one location."""

    location: str
    status: Literal["pending", "shipped", "refused"] = Field(description="As the carrier has answered")
    lines: tuple[ParcelLineView, ...]
    reference: str | None = Field(description="The carrier's name for it, once it has left")
    failure: FailureView | None = Field(description="Why the carrier refused it; it is given back")


class OrderView(View):
    """An order as its customer sees it. Payment method and address are never shown."""

    order_id: UUID
    saga_id: UUID
    customer_id: str
    reference: str | None = Field(None, description="The merchant's own order number, where it has one")
    metadata: MarkedWith = {}
    status: OrderStatus | str = Field(description="The label of its saga")
    compensating: bool = Field(description="What was done for the order is being undone")
    currency: str | None = Field(description="null only where the stored order cannot be read")
    total: int | None = Field(
        description="In minor units of the currency; null only where the stored order cannot be read"
    )
    lines: tuple[LineView, ...]
    parcels: tuple[ParcelView, ...] = Field(
        (), exclude_if=absent, description="Where shipments are split, once they are asked for"
    )
    failure: FailureView | None
    cancel_requested_at: Time | None
    created_at: Time
    updated_at: Time
    ended_at: Time | None
    unreadable: str | None = Field(
        None, description="Why what is stored of it cannot be read, and so is not shown; null for all others"
    )

    @computed_field(description="Where its returns are listed")  # type: ignore[prop-decorator]
    @property
    def returns(self) -> str:
        """See above."""
        return f"/orders/{self.order_id}/returns"


class OrderList(Listing[OrderView]):
    """One page of orders."""


class ReturnLineView(LineView):
    """So many of one product that come back, and what became of them."""

    disposition: Disposition | None = Field(description="As the warehouse says; null until it has")


class ReturnView(View):
    """A return of an order as its customer sees it."""

    return_id: UUID = Field(description="The id of its saga, by which it is followed and cancelled")
    order_id: UUID
    status: str = Field(description="The label of its saga")
    lines: tuple[ReturnLineView, ...]
    reason: str | None
    currency: str | None = Field(description="null only where the stored return cannot be read")
    amount: int | None = Field(description="What is given back for it, in minor units")
    refund_reference: str | None = Field(description="The gateway's name for the refund, once it was made")
    failure: FailureView | None
    created_at: Time
    updated_at: Time
    ended_at: Time | None
    unreadable: str | None = Field(
        None, description="Why what is stored of it cannot be read, and so is not shown; null for all others"
    )


class ReturnList(Listing[ReturnView]):
    """One page of an order's returns, newest first."""


class IncidentView(View):
    """Something open that a person has to look at."""

    kind: IncidentKind
    step: str
    direction: Word[Direction]
    since: Time
    message: str


class SagaSummary(Labelled):
    """A saga as it stands in a list."""

    saga_id: UUID
    order_id: UUID = ABOUT
    definition: str
    definition_version: int
    status: Word[Status]
    reference: str | None = CALLED
    metadata: MarkedWith = {}
    step: str | None = Field(description="The step whose answer is awaited; null when there is none")
    direction: Word[Direction]
    version: int
    incident_kinds: tuple[Word[IncidentKind], ...]
    due_at: Time | None = Field(description="When it is looked at next")
    created_at: Time
    updated_at: Time
    ended_at: Time | None


class SagaList(Listing[SagaSummary]):
    """One page of sagas."""


StepStatus = Literal[
    "pending",
    "awaited",
    "succeeded",
    "rejected",
    "unknown",
    "compensating",
    "compensated",
    "nothing_to_undo",
    "settled",
    "left_out",
]


class StepView(View):
    """What is known of one piece of a saga's course: a step, a branch of one, or a wait."""

    name: str
    kind: StepKind | None = Field(
        description="null for a wait, and where the definition's version is not known here"
    )
    stage: int | None = Field(
        None, description="Pieces of one stage are awaited together; counted from 0, null where unknown"
    )
    item: Any = Field(None, description="What a branch is about; sensitive fields are masked")
    status: StepStatus
    attempts: int = Field(description="Copies of its command that were sent")
    compensation_attempts: int
    result: dict[str, Any]


class SignalView(View):
    """What came from outside for a wait; sensitive fields are masked."""

    body: dict[str, Any]
    sender: str
    at: Time


class WaitView(View):
    """A wait of a saga's course: for a signal from outside, or for time alone."""

    name: str
    status: StepStatus
    open: bool = Field(description="A signal would be taken now; one that comes early is kept")
    since: Time | None = Field(description="null while it is not waited for")
    deadline_at: Time | None = Field(description="null while it is not waited for")
    on_deadline: OnDeadline
    signal: str | None = Field(description="What the signal is called; null where only time is waited for")
    signalled_by: SignalledBy = Field(
        SignalledBy.CALLERS, description="Whose word it is: operators alone, or whoever may cancel it"
    )
    signal_schema: dict[str, Any] | None = Field(description="JSON Schema of the signal's body")
    received: SignalView | None


class SagaStanding(View):
    """Where a saga stands, as whoever started it sees it."""

    saga_id: UUID
    subject_id: UUID = ABOUT
    definition: str
    definition_version: int
    status: Word[Status]
    label: str = Field(description="Where it stands, in its definition's own words")
    failure: FailureView | None
    cancel_requested_at: Time | None
    created_at: Time
    updated_at: Time
    ended_at: Time | None


class SagaView(SagaStanding):
    """A saga as whoever started it sees it; sensitive fields of its input are masked."""

    input: Any = Field(description="What it was started with; null where it cannot be read")
    waits: tuple[WaitView, ...] = Field(description="What it waits for on its way, from outside")
    unreadable: str | None = Field(
        None, description="Why what is stored of it cannot be read, and so is not shown; null for all others"
    )


class HistoryView(Labelled):
    """One accepted input of a saga, and where it led."""

    seq: int
    at: Time
    kind: str
    accepted: dict[str, Any]
    status: Word[Status]
    step: str | None
    direction: Word[Direction]
    sent: tuple[dict[str, str], ...] = Field(description="Types and ids of the messages that it caused")


class HistoryList(Listing[HistoryView]):
    """One page of a saga's history, the latest entries first."""


class SagaFailure(FailureView):
    """Why a saga turned round; the first cause wins."""

    ends_as: End


class SagaDetail(Labelled):
    """A saga with its steps, waits, incidents and history."""

    saga_id: UUID
    order_id: UUID = ABOUT
    definition: str
    definition_version: int
    owner: str | None = Field(None, description="Who started it: the customer of an order, else a caller")
    reference: str | None = CALLED
    metadata: MarkedWith = {}
    input: Any = Field(None, description="What it was started with; sensitive fields are masked")
    status: Word[Status]
    step: str | None = Field(description="The first of the pieces of work that are awaited")
    awaits: tuple[str, ...] = Field((), description="All of them")
    direction: Word[Direction]
    version: int
    incidents: tuple[IncidentView, ...]
    due_at: Time | None
    failure: SagaFailure | None
    cancel_requested_at: Time | None
    created_at: Time
    updated_at: Time
    ended_at: Time | None
    steps: tuple[StepView, ...]
    waits: tuple[WaitView, ...] = ()
    allowed_actions: tuple[str, ...] = Field(description="What may be done to it now")
    history: tuple[HistoryView, ...] = Field(description="Oldest first; of a very long one the latest part")
    history_omitted: int = Field(
        0, description="How many older entries are not among these; the saga's list of its history has all"
    )


class SagaMessageView(View):
    """A message that a saga has sent or heard; sensitive fields are masked."""

    seq: int = Field(description="Of the history's entry that caused it, or that it caused")
    at: Time
    kind: Literal["command", "event", "answer", "signal"]
    type: str
    message_id: UUID | None = Field(
        description="null for an answer or signal, which the history keeps by its content"
    )
    body: Any


class SagaMessageList(Listing[SagaMessageView]):
    """The messages of a saga, oldest first, on one page."""


class DeadLetterSummary(View):
    """A dead letter as it stands in a list."""

    dead_letter_id: UUID
    kind: str = Field(description="command or message")
    status: Word[DeadLetterStatus]
    cause: str | None = Field(description="Why it is closed, once it is")
    version: int
    deaths: int = Field(description="Distinct messages that died for this work")
    queue: str
    type: str
    saga_id: UUID | None
    step: str | None
    direction: Word[Direction] | None
    error_type: str
    error_message: str
    permanent: bool = Field(description="Trying again by itself was known to be pointless")
    attempts: int
    first_failed_at: Time
    last_failed_at: Time
    created_at: Time
    updated_at: Time


class DeadLetterList(Listing[DeadLetterSummary]):
    """One page of dead letters."""


class DeadLetterDetail(DeadLetterSummary):
    """A dead letter with its headers and body."""

    exchange: str
    routing_key: str
    message_id: str
    error_stack: str
    headers: dict[str, Any]
    body_form: Literal["json", "text", "withheld"] = Field(
        description="withheld: no JSON, and it may hold what must not be shown"
    )
    body: Any
    body_bytes: int = Field(description="Bytes that were kept of the body")
    body_truncated: bool


class FullBody(View):
    """A message as it is: nothing is masked."""

    type: str
    message_id: str
    headers: dict[str, Any]
    body_form: Literal["json", "text", "base64"]
    body: Any
    body_bytes: int = Field(description="Bytes that were kept of the body")
    body_truncated: bool


class DeadLetterGroup(View):
    """Dead letters of one queue and one kind of error."""

    queue: str
    error_type: str
    count: int
    at_least: bool = Field(default=False, description="There may be more: counting stopped")
    deaths: int
    permanent: int = Field(description="How many of them are permanent failures")
    steps: tuple[str, ...]
    first_failed_at: Time
    last_failed_at: Time


class DeadLetterGroups(Listing[DeadLetterGroup]):
    """Groups of dead letters, the largest first, on one page."""

    more: bool = Field(
        default=False,
        description="There are further groups, which are not among these; filters narrow it down",
    )


class AuditView(View):
    """Who did what to which subject, why, and what it was before and after."""

    audit_id: UUID
    at: Time
    actor: str
    action: str
    subject: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]


class AuditList(Listing[AuditView]):
    """One page of the audit log."""
