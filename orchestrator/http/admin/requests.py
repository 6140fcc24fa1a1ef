"""What operators send: filters of lists, and actions with their reasons (D6)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request

from contracts.commands import Verdict
from contracts.limits import PRINTABLE, Amount, Reference
from contracts.problems import ProblemError
from orchestrator.core.state import IncidentKind, Status
from orchestrator.dead_letters.selection import DeadLetterFilter, Group
from orchestrator.http.fields import Cursor, Reason
from orchestrator.http.finding import MAX_FILTER_VALUES, FindingQuery
from orchestrator.http.headers import if_match
from orchestrator.jobs.job import DEFAULT_RATE, HIGHEST_RATE, LOWEST_RATE, ItemResult, JobKind, JobState
from orchestrator.jobs.tasks import Assignment
from orchestrator.queries.audit import AuditFilter
from orchestrator.queries.jobs import JobFilter
from orchestrator.queries.paging import DEFAULT_LIMIT, MAX_LIMIT, Page
from orchestrator.selection import STILL_GOING, SagaFilter
from orchestrator.storage import DeadLetterStatus

_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(5000, 1, 1, tzinfo=UTC)

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
StepName = Annotated[str, StringConstraints(min_length=1, max_length=70, pattern=PRINTABLE)]
"""Of a step, or of a branch of one, as in ``ship[2]``."""
Moment = Annotated[AwareDatetime, Field(ge=_FIRST, lt=_LAST)]
Version = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
DryRun = Annotated[bool, Field(strict=True, description='Only tell what would be done; no 0, "no" or "off"')]


class ListQuery(BaseModel):
    """Which page of a list; filters may be repeated, which means "or"."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Cursor | None = None

    @property
    def page(self) -> Page:
        """The page."""
        return Page(self.limit, self.cursor)


class SagaFilters(FindingQuery, BaseModel):
    """Filters of sagas."""

    status: Annotated[list[Status], Field(max_length=MAX_FILTER_VALUES)] = []
    step: Annotated[list[StepName], Field(max_length=MAX_FILTER_VALUES)] = []
    incident: Annotated[list[Literal["any", "none"] | IncidentKind], Field(max_length=MAX_FILTER_VALUES)] = []
    order_id: Annotated[list[UUID], Field(max_length=MAX_FILTER_VALUES)] = []
    definition: Annotated[list[Text], Field(max_length=MAX_FILTER_VALUES)] = []
    created_after: Moment | None = None
    created_before: Moment | None = None

    @property
    def wanted(self) -> SagaFilter:
        """The filter."""
        return SagaFilter(
            statuses=tuple(self.status),
            steps=tuple(self.step),
            incidents=tuple(self.incident),
            order_ids=tuple(self.order_id),
            definitions=tuple(self.definition),
            created_after=self.created_after,
            created_before=self.created_before,
            found_by=self.found_by,
        )


class SagaListQuery(SagaFilters, ListQuery):
    """Filters of the list of sagas."""


class DeadLetterMarks(BaseModel):
    """What dead letters are told apart by, their status aside."""

    model_config = ConfigDict(extra="forbid")

    queue: Annotated[list[Text], Field(max_length=MAX_FILTER_VALUES)] = []
    error_type: Annotated[list[Text], Field(max_length=MAX_FILTER_VALUES)] = []
    step: Annotated[list[StepName], Field(max_length=MAX_FILTER_VALUES)] = []
    saga_id: Annotated[list[UUID], Field(max_length=MAX_FILTER_VALUES)] = []
    saga_status: Annotated[list[Status], Field(max_length=MAX_FILTER_VALUES)] = []
    created_after: Moment | None = None
    created_before: Moment | None = None

    def wanted_of(
        self, statuses: Iterable[DeadLetterStatus], groups: Iterable[Group] = ()
    ) -> DeadLetterFilter:
        """The filter."""
        return DeadLetterFilter(
            statuses=tuple(statuses),
            queues=tuple(self.queue),
            error_types=tuple(self.error_type),
            steps=tuple(self.step),
            saga_ids=tuple(self.saga_id),
            saga_statuses=tuple(self.saga_status),
            groups=tuple(groups),
            created_after=self.created_after,
            created_before=self.created_before,
        )


class DeadLetterFilters(DeadLetterMarks):
    """Filters of dead letters."""

    status: Annotated[list[DeadLetterStatus], Field(max_length=MAX_FILTER_VALUES)] = []

    @property
    def wanted(self) -> DeadLetterFilter:
        """The filter."""
        return self.wanted_of(self.status)


class DeadLetterListQuery(DeadLetterFilters, ListQuery):
    """Filters of the list of dead letters."""


class DeadLetterGroupChoice(BaseModel):
    """A group, as `/admin/dead-letters/groups` names it."""

    model_config = ConfigDict(extra="forbid")

    queue: Text
    error_type: Text


StillOpen = Literal[DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYING]


class DeadLetterSelection(DeadLetterMarks):
    """Which dead letters a job is to choose; an empty selection means every open one."""

    status: Annotated[
        list[StillOpen],
        Field(max_length=MAX_FILTER_VALUES, description="Of what has been replayed already on request alone"),
    ] = [DeadLetterStatus.OPEN]
    group: Annotated[list[DeadLetterGroupChoice], Field(max_length=MAX_FILTER_VALUES)] = []

    @property
    def wanted(self) -> DeadLetterFilter:
        """The filter."""
        groups = (Group(each.queue, each.error_type) for each in self.group)
        return self.wanted_of(self.status or [DeadLetterStatus.OPEN], groups)


class JobListQuery(ListQuery):
    """Filters of the list of jobs."""

    state: Annotated[list[JobState], Field(max_length=MAX_FILTER_VALUES)] = []
    kind: Annotated[list[JobKind], Field(max_length=MAX_FILTER_VALUES)] = []

    @property
    def wanted(self) -> JobFilter:
        """The filter."""
        return JobFilter(tuple(self.state), tuple(self.kind))


class JobItemListQuery(ListQuery):
    """Filters of the list of what a job has done."""

    result: Annotated[list[ItemResult], Field(max_length=MAX_FILTER_VALUES)] = []


class AuditListQuery(ListQuery):
    """Filters of the audit log; a subject is such as ``saga:<id>`` or ``dead_letter:<id>``."""

    actor: Annotated[list[Text], Field(max_length=MAX_FILTER_VALUES)] = []
    action: Annotated[list[Text], Field(max_length=MAX_FILTER_VALUES)] = []
    subject: Annotated[list[Text], Field(max_length=MAX_FILTER_VALUES)] = []

    @property
    def wanted(self) -> AuditFilter:
        """The filter."""
        return AuditFilter(tuple(self.actor), tuple(self.action), tuple(self.subject))


class Reasoned(BaseModel):
    """Whatever somebody does needs a reason (D6)."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class Action(Reasoned):
    """An action on something at a version: of that the operator has seen (D6)."""

    expected_version: Version | None = Field(
        None, description="The version that was looked at; or give it as If-Match"
    )

    def version(self, request: Request) -> int:
        """The version that the operator has seen.

        Raises:
            ProblemError: 400 for a malformed If-Match, 412 when it differs from the body, 428 when neither
                is given.
        """
        seen = if_match(request.headers)
        if seen is not None and self.expected_version not in (None, seen):
            raise ProblemError(412, "stale_version", "If-Match and expected_version differ.")
        version = self.expected_version if seen is None else seen
        if version is None:
            raise ProblemError(428, "version_missing", "expected_version or If-Match is needed.")
        return version


class Retry(Action):
    """What is awaited once more; of several pieces of work one alone, where it is named."""

    step: StepName | None = None


class Resolution(Action):
    """A person's verdict on a stuck piece of work (S19)."""

    step: StepName
    verdict: Verdict
    reference: Reference | None = None
    amount: Amount | None = None


class ReplayAction(Action):
    """Replay of a dead letter; a dry run only tells what it would do."""

    dry_run: DryRun = False


class Bulk(Reasoned):
    """Base of the same action on many things, as a job; a dry run tells what it would do."""

    dry_run: DryRun = False
    rate_per_second: Annotated[float, Field(strict=True, ge=LOWEST_RATE, le=HIGHEST_RATE)] = DEFAULT_RATE
    expected_count: Annotated[int, Field(strict=True, ge=0, lt=2**31)] | None = Field(
        None, description="How many were seen; with any other number nothing is done (412)"
    )

    @abstractmethod
    def assignment(self, kind: JobKind) -> Assignment:
        """The job that is asked for."""


class BulkAction(Bulk):
    """The same action on every dead letter of a selection."""

    filter: DeadLetterSelection

    def assignment(self, kind: JobKind) -> Assignment:
        """See `Bulk`."""
        return Assignment(kind, self.filter.wanted, self.rate_per_second, self.expected_count)


class SagaSelection(SagaFilters):
    """Which sagas a job is to choose; an empty selection means every one that has not ended."""

    @property
    def wanted(self) -> SagaFilter:
        """The filter."""
        found = super().wanted
        return found if found.statuses else replace(found, statuses=STILL_GOING)


class SagaBulkAction(Bulk):
    """The same action on every saga of a selection."""

    filter: SagaSelection

    @property
    def details(self) -> dict[str, Any]:
        """What the action itself says."""
        return {}

    def assignment(self, kind: JobKind) -> Assignment:
        """See `Bulk`."""
        wanted, rate = self.filter.wanted, self.rate_per_second
        return Assignment(kind, wanted, rate, self.expected_count, details=self.details)


class SagaBulkRetry(SagaBulkAction):
    """What each of these sagas awaits, once more; of several pieces of work one alone, where it is named."""

    step: StepName | None = None

    @property
    def details(self) -> dict[str, Any]:
        """See `SagaBulkAction`."""
        return {} if self.step is None else {"step": self.step}


class SagaBulkResolution(SagaBulkAction):
    """The same verdict on the same stuck piece of work of many sagas (S19)."""

    step: StepName
    verdict: Verdict

    @property
    def details(self) -> dict[str, Any]:
        """See `SagaBulkAction`."""
        return {"step": self.step, "verdict": self.verdict.value}


SAGA_ACTIONS: Final[Mapping[JobKind, type[SagaBulkAction]]] = {
    JobKind.RETRY: SagaBulkRetry,
    JobKind.CANCEL: SagaBulkAction,
    JobKind.RESOLVE: SagaBulkResolution,
}
"""What is sent for each kind of job on sagas."""
