"""What people do in a story, each with what they must be told; every act knows what it waits for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from contracts.commands import Verdict
from contracts.returns import Disposition
from orchestrator.sagas.order_fulfillment import HOLD
from orchestrator.sagas.order_return import GOODS_RECEIVED
from simulation.stories.hands import Answer, Hands, Look, NotAsTold

ON_HOLD: Final = "on_hold"
AWAITING_GOODS: Final = "awaiting_goods"


@dataclass(slots=True)
class Stage:
    """A story while it is told.

    Attributes:
        sku: the SKU of one of the story's products.
        submission: the order as it was sent.
        returns: what was asked for back and accepted, oldest first.
    """

    hands: Hands
    sku: Callable[[str], str]
    submission: Mapping[str, Any]
    order_id: UUID
    returns: list[UUID] = field(default_factory=list)

    async def until(self, subject_id: UUID, what: str, wanted: Callable[[Look], bool]) -> None:
        """Return once it stands so. Raises NotAsTold when it ends without."""
        while not wanted(look := await self.hands.look(subject_id)):
            if look.ended:
                raise NotAsTold(f"{what} never came: it ended {look.label}")
            await self.hands.pause()

    async def at(self, subject_id: UUID, label: str | None) -> None:
        """Return once its label is this; at once for None."""
        if label is not None:
            await self.until(subject_id, f"the label {label}", lambda look: look.label == label)

    async def at_incident(self, subject_id: UUID, step: str) -> None:
        """Return once a person has to look at a step."""
        await self.until(
            subject_id, f"an incident of {step}", lambda look: look.incident and look.step == step
        )

    def told(self, act: Act, refused: str | None, expected: str | None) -> None:
        """Hold what somebody was told against what must be. Raises NotAsTold."""
        if refused != expected:
            raise NotAsTold(f"{act}: told {refused or 'yes'}, not {expected or 'yes'}")


class Act(ABC):
    """One thing that somebody does; its words are a sentence for the documentation."""

    @abstractmethod
    async def play(self, stage: Stage) -> None:
        """Wait for the moment, do it, and check what was told. Raises NotAsTold."""

    @abstractmethod
    def __str__(self) -> str:
        """What is done, in words."""


def _but(refused: str | None) -> str:
    return f" (refused: `{refused}`)" if refused else ""


@dataclass(frozen=True, slots=True)
class Cancel(Act):
    """The customer cancels once the order's label is ``at``."""

    at: str
    refused: str | None = None

    async def play(self, stage: Stage) -> None:
        """See `Act.play`."""
        await stage.at(stage.order_id, self.at)
        stage.told(self, await stage.hands.cancel(stage.order_id), self.refused)

    def __str__(self) -> str:
        return f"cancelled when {self.at}{_but(self.refused)}"


@dataclass(frozen=True, slots=True)
class SubmitAgain(Act):
    """The customer sends the order once more, with changes, under the same key or another one."""

    key: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    refused: str | None = None

    async def play(self, stage: Stage) -> None:
        """See `Act.play`. What is not refused is the first order."""
        answer = await stage.hands.submit({**stage.submission, **self.changes}, self.key)
        stage.told(self, answer.refused, self.refused)
        if answer.subject_id not in (None, stage.order_id):
            raise NotAsTold(f"{self}: it became a second order")

    def __str__(self) -> str:
        key = "the same key" if self.key == FIRST_KEY else "another key"
        what = f"with another {', '.join(self.changes)}" if self.changes else "as it was"
        return f"sent again {what} under {key}{_but(self.refused)}"


FIRST_KEY: Final = "first"
"""The idempotency key under which each story's order is submitted."""


@dataclass(frozen=True, slots=True)
class Decide(Act):
    """An operator says yes or no to an order on hold; ``at`` None: without waiting for it to be held."""

    approved: bool
    at: str | None = ON_HOLD
    refused: str | None = None

    async def play(self, stage: Stage) -> None:
        """See `Act.play`."""
        await stage.at(stage.order_id, self.at)
        word = {"approved": self.approved, "reason": "looked at"}
        stage.told(self, await stage.hands.signal(stage.order_id, HOLD, word), self.refused)

    def __str__(self) -> str:
        return f"{'approved' if self.approved else 'denied'}{_but(self.refused)}"


@dataclass(frozen=True, slots=True)
class NobodyDecides(Act):
    """Nobody looks at an order on hold for as long as it is held."""

    async def play(self, stage: Stage) -> None:
        """See `Act.play`."""
        await stage.at(stage.order_id, ON_HOLD)
        await stage.hands.let_days_pass(stage.order_id)

    def __str__(self) -> str:
        return "held, and nobody looks for seven days"


@dataclass(frozen=True, slots=True)
class SendBack(Act):
    """The customer asks for the return of pieces, once the order's label is ``at``."""

    pieces: Mapping[str, int]
    at: str = "completed"
    refused: str | None = None

    async def play(self, stage: Stage) -> None:
        """See `Act.play`."""
        await stage.at(stage.order_id, self.at)
        quantities = {stage.sku(product): count for product, count in self.pieces.items()}
        key = f"back-{len(stage.returns)}-{self.refused}"
        answer: Answer = await stage.hands.send_back(stage.order_id, quantities, key)
        stage.told(self, answer.refused, self.refused)
        if answer.subject_id is not None:
            stage.returns.append(answer.subject_id)

    def __str__(self) -> str:
        pieces = ", ".join(f"{count} {product}" for product, count in self.pieces.items())
        return f"{pieces} sent back{_but(self.refused)}"


@dataclass(frozen=True, slots=True)
class GoodsCome(Act):
    """The warehouse says of the latest return what became of each product."""

    said: Mapping[str, Disposition]
    refused: str | None = None

    async def play(self, stage: Stage) -> None:
        """See `Act.play`. Where it is taken, the return is told to its end."""
        await stage.at(stage.returns[-1], AWAITING_GOODS)
        lines = [{"sku": stage.sku(product), "disposition": word} for product, word in self.said.items()]
        refused = await stage.hands.signal(stage.returns[-1], GOODS_RECEIVED, {"lines": lines})
        stage.told(self, refused, self.refused)

    def __str__(self) -> str:
        lost = [name for name, word in self.said.items() if word is Disposition.WRITE_OFF]
        come = [name for name in self.said if name not in lost]
        words = [f"{', '.join(come)} restocked"] * bool(come) + [f"{', '.join(lost)} written off"] * bool(
            lost
        )
        return f"{' and '.join(words)}{_but(self.refused)}"


@dataclass(frozen=True, slots=True)
class CancelReturn(Act):
    """The customer keeps the goods of the latest return after all."""

    async def play(self, stage: Stage) -> None:
        """See `Act.play`. The return has ended then, so that its goods can be in another one."""
        made = stage.returns[-1]
        await stage.at(made, AWAITING_GOODS)
        stage.told(self, await stage.hands.cancel(made), None)
        await stage.until(made, "the end of the return", lambda look: look.ended)

    def __str__(self) -> str:
        return "the return is cancelled"


@dataclass(frozen=True, slots=True)
class NothingComes(Act):
    """The goods of the latest return do not come for as long as they are waited for."""

    async def play(self, stage: Stage) -> None:
        """See `Act.play`. The return has ended then."""
        made = stage.returns[-1]
        await stage.at(made, AWAITING_GOODS)
        await stage.hands.let_days_pass(made)
        await stage.until(made, "the end of the return", lambda look: look.ended)

    def __str__(self) -> str:
        return "nothing comes for thirty days"


@dataclass(frozen=True, slots=True)
class Settle(Act):
    """A person finds out what is true of a step that is an incident, sees to it, and says so (S19)."""

    step: str
    verdict: Verdict

    async def play(self, stage: Stage) -> None:
        """See `Act.play`. Said again where the provider could not be asked, until it is taken (P10)."""
        await stage.at_incident(stage.order_id, self.step)
        await self._say(stage)
        while (look := await stage.hands.look(stage.order_id)).step == self.step and not look.ended:
            if look.verdict_refused:
                await self._say(stage)
            await stage.hands.pause()

    async def _say(self, stage: Stage) -> None:
        stage.told(self, await stage.hands.settle(stage.order_id, self.step, self.verdict), None)

    def __str__(self) -> str:
        return f"an incident: {self.step} is settled as `{self.verdict}`"


@dataclass(frozen=True, slots=True)
class ReplayUntilDone(Act):
    """An operator replays the order's dead letter, again where it dies again, until the order ends (D4)."""

    async def play(self, stage: Stage) -> None:
        """See `Act.play`."""
        while not (look := await stage.hands.look(stage.order_id)).ended:
            if look.incident:
                await stage.hands.replay(stage.order_id)
            await stage.hands.pause()

    def __str__(self) -> str:
        return "its dead letter is replayed"


@dataclass(frozen=True, slots=True)
class Retry(Act):
    """An operator has a step that is an incident tried once more (S10)."""

    step: str

    async def play(self, stage: Stage) -> None:
        """See `Act.play`."""
        await stage.at_incident(stage.order_id, self.step)
        stage.told(self, await stage.hands.retry(stage.order_id), None)

    def __str__(self) -> str:
        return f"an incident: {self.step} is retried"
