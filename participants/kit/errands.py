"""Steps at a provider: what their author wrote, as questions to it and as answers (P6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic_core import to_json, to_jsonable_python

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import OutcomeEvent
from contracts.sensitive import SENSITIVE_NAMES, sensitive_names, without_sensitive
from messaging.errors import PermanentFailure
from participants.kit.participant import DeclaredStep
from participants.kit.work import answer, held_of
from participants.ledger import LedgerRow
from participants.provider_plan import NOTHING, Declined, NotFound, Took
from participants.provider_reply import is_reference, tidied
from participants.provider_terms import ProviderMisuse, ProviderTraits, Voided, VoidNotOffered

E = TypeVar("E", bound=OutcomeEvent)

_IDENTITY: Final = {"saga_id", "order_id", "step", "direction"}


@dataclass(frozen=True, slots=True)
class Errand:
    """One piece of work at a provider.

    Attributes:
        key: names it towards the provider, the same however often it is asked for.
        direction: of the effect, or of its undoing.
    """

    key: str
    direction: Direction
    _row: LedgerRow

    @property
    def saga_id(self) -> UUID:
        """The saga that asks."""
        return self._row.saga_id

    @property
    def subject_id(self) -> UUID:
        """What the saga is about, such as an order."""
        return self._row.order_id

    @property
    def step(self) -> str:
        """The piece of work within its saga."""
        return self._row.step

    @property
    def kept(self) -> Mapping[str, Any]:
        """The fields of the command that the ledger keeps, as JSON; empty where no command ever came."""
        return self._row.details

    def answer(self, event: type[E], **fields: Any) -> E:
        """The event that answers the command, with its identities filled in."""
        return answer(event, (self.saga_id, self.subject_id, self.step, self.direction), fields)


class StepAtProvider:
    """A `participants.provider_work.ProviderWork` made of an author's class and the provider's client."""

    def __init__(self, step: DeclaredStep, provider: Any) -> None:
        self._effects = step.effects(provider)
        self.work = step.work
        traits = getattr(self._effects, "traits", None) or getattr(provider, "traits", None)
        self.traits: ProviderTraits = traits or ProviderTraits()
        self.reversal = None if step.work.undone is None else _Reversal(step, self._effects)
        own = sensitive_names([step.work.command])
        self._hidden = SENSITIVE_NAMES | own
        fields = {*step.work.command.model_fields} - _IDENTITY
        self._kept: list[str] = sorted(getattr(self._effects, "keeps", fields - own))
        self._without: Mapping[str, Any] = getattr(self._effects, "without", {})
        self._asked = sorted(fields - {*self._kept} - {*self._without})

    def details(self, command: Command) -> Mapping[str, Any]:
        """See `ExternalWork.details`."""
        return _noted(command, self._kept)

    def request(self, command: Command) -> Mapping[str, Any]:
        """See `ExternalWork.request`."""
        return _noted(command, self._asked)

    def check(self, command: Command, earlier: Sequence[LedgerRow]) -> None:
        """See `ExternalWork.check`."""
        check = getattr(self._effects, "check", None)
        if check is not None:
            check(command, held_of(earlier))

    def unasked(self, row: LedgerRow) -> Took | None:
        """See `ExternalWork.unasked`."""
        is_nothing = getattr(self._effects, "is_nothing", None)
        return NOTHING if is_nothing is not None and is_nothing(_forward("", row)) else None

    def success(self, row: LedgerRow, took: Took) -> OutcomeEvent:
        """See `ExternalWork.success`."""
        event: OutcomeEvent = self._effects.success(_forward("", row), took)
        return _awaited(event, self.work.success, "success")

    def rejection(self, row: LedgerRow, declined: Declined) -> OutcomeEvent:
        """See `ExternalWork.rejection`."""
        assert self.work.rejection is not None
        message = self.discreet(declined.message, row)
        return _forward("", row).answer(self.work.rejection, code=declined.code, message=message)

    def discreet(self, text: str, row: LedgerRow) -> str:
        """See `ExternalWork.discreet`."""
        return without_sensitive(text, row.noted, self._hidden)

    async def act(self, key: str, row: LedgerRow) -> Took | Declined:
        """See `ProviderWork.act`."""
        found = _finding(await self._effects.call(_forward(key, row), self._command(row)))
        if isinstance(found, Declined) and self.work.rejection is None:
            refusal = self.discreet(found.message, row)
            raise ProviderMisuse(f"{found.code}: its provider refuses {self.work.name} for good: {refusal}")
        if isinstance(found, Took | Declined):
            return found
        raise ProviderMisuse(f"{self.work.name}: its client answers a call with {_called(found)}")

    async def close(self, key: str, row: LedgerRow) -> Took | Declined | Voided | VoidNotOffered:
        """See `ProviderWork.close`."""
        close = getattr(self._effects, "close", None)
        answered = VoidNotOffered() if close is None else await close(_forward(key, row))
        if isinstance(answered, VoidNotOffered):
            return answered
        found = _finding(answered)
        if isinstance(found, NotFound):
            raise ProviderMisuse(f"{self.work.name}: its client says nothing of a key that it was to close")
        return found

    async def find(self, key: str, row: LedgerRow) -> Took | Declined | Voided | NotFound:
        """See `ProviderWork.find`."""
        return _finding(await self._effects.find(_forward(key, row)))

    async def recall(self, key: str, row: LedgerRow) -> Took | NotFound:
        """See `ProviderWork.recall`."""
        return _recalled(key, await self._effects.recall(_forward(key, row)))

    def _command(self, row: LedgerRow) -> Command:
        """The command as it was asked for, read off the ledger by the first call and by every later one.

        Only while its effect is not known.
        """
        assert row.request is not None
        identity = {"saga_id": row.saga_id, "order_id": row.order_id, "step": row.step}
        said = {**self._without, **row.noted, **identity, "direction": Direction.FORWARD}
        return self.work.command.model_validate_json(to_json(said), by_alias=True, by_name=True)


class _Reversal:
    """A `participants.provider_plan.Reversal`."""

    def __init__(self, step: DeclaredStep, effects: Any) -> None:
        self._work = step.work
        self._effects = effects

    def told(self, row: LedgerRow, took: Took) -> Mapping[str, Any]:
        """See `Reversal.told`."""
        event: OutcomeEvent = self._effects.undone(_back("", row), took)
        assert self._work.undone is not None
        return _awaited(event, self._work.undone, "undone").model_dump(exclude=_IDENTITY)

    async def act(self, key: str, row: LedgerRow) -> Took:
        """See `Reversal.act`."""
        assert row.forward is not None
        done = self._work.success.model_validate_json(row.forward.body)
        found = _finding(await self._effects.undo(_back(key, row), done))
        if isinstance(found, Took):
            return found
        raise ProviderMisuse(f"{self._work.name}: its client answers an undoing with {_called(found)}")

    async def find(self, key: str, row: LedgerRow) -> Took | NotFound:
        """See `Reversal.find`."""
        return _recalled(key, await self._effects.find_undo(_back(key, row)))

    async def recall(self, key: str, row: LedgerRow) -> Took | NotFound:
        """See `Reversal.recall`."""
        return _recalled(key, await self._effects.recall_undo(_back(key, row)))


def _noted(command: Command, names: Sequence[str]) -> dict[str, Any]:
    """Fields of a command as JSON, as they stand on the wire, which leaves out what is as good as absent."""
    said = command.model_dump(mode="json", include={*names})
    return {
        name: said[name] if name in said else to_jsonable_python(getattr(command, name)) for name in names
    }


def _forward(key: str, row: LedgerRow) -> Errand:
    return Errand(key, Direction.FORWARD, row)


def _back(key: str, row: LedgerRow) -> Errand:
    return Errand(key, Direction.COMPENSATING, row)


def _awaited(event: E, kind: type[OutcomeEvent], method: str) -> E:
    """Raises PermanentFailure where a method of the author's has returned anything else."""
    if type(event) is kind:
        return event
    raise PermanentFailure("wrong_answer", f"{method} returned {type(event).__name__}, not {kind.__name__}")


def _finding(answered: object) -> Took | Declined | Voided | NotFound:
    """What a client's answer means: the one place where it is made fit for a ledger, whoever's client it is.

    Raises:
        ProviderMisuse: it means nothing, or its reference is none.
    """
    match answered:
        case None | NotFound():
            return NotFound()
        case Voided():
            return Voided()
    reference = getattr(answered, "reference", None)
    if reference is not None:
        if is_reference(reference):
            return Took(reference)
        raise ProviderMisuse(
            "its client answered a reference that is not printable text of at most 200 characters"
        )
    if hasattr(answered, "code") and hasattr(answered, "message"):
        return Declined(*tidied(answered.code, answered.message, otherwise="declined"))
    raise ProviderMisuse(f"its client answered {type(answered).__name__}, which is no answer")


def _called(found: Declined | Voided | NotFound) -> str:
    """What it is, for whoever wrote the client."""
    match found:
        case Declined(code, message):
            return f"a refusal ({code}: {message})"
        case Voided():
            return "Voided"
        case NotFound():
            return "nothing"


def _recalled(key: str, answered: object) -> Took | NotFound:
    """Of all that took effect for a subject, what did so under the key; a refusal is no effect."""
    if isinstance(answered, list | tuple):
        if not all(hasattr(each, "key") for each in answered):
            raise ProviderMisuse("its client answered a list of what has no key, which is no answer")
        answered = next((each for each in answered if each.key == key), None)
    found = _finding(answered)
    return found if isinstance(found, Took) else NotFound()
