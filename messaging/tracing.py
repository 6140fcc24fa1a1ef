"""Where an order's trace goes on: a port that does nothing unless somebody wants traces.

The trace context (W3C ``traceparent``) travels in the header of that name and so stands in the outbox row
with the other headers: what the relay sends later goes on in the same trace. A saga keeps the context that it
began in (`Saga.traceparent`) for what no message asked for: re-sends, deadlines, people.

The one implementation beside `UNTRACED` is `oms.observing.traces`; nothing imports it while traces are off.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from messaging.transport import Delivery, Message


class Tracing(Protocol):
    """What the parts that move messages tell of their work."""

    def sending(self, outgoing: list[Message]) -> AbstractContextManager[None]:
        """Around a commit and what follows from it.

        Each message gets a span, and in its place in the list the header that makes its receiver go on there.
        """

    def began(self, deliveries: Sequence[Delivery]) -> None:
        """Work on these begins: each gets a span, and its header so that what comes of it goes on there.

        Those that began before, and were held back, are left as they are.
        """

    def failed(self, delivery: Delivery, error: Exception) -> None:
        """This one could not be served."""

    def ended(self, deliveries: Sequence[Delivery]) -> None:
        """These are done with, one way or the other."""

    def within(self, traceparent: str | None) -> AbstractContextManager[None]:
        """Whatever happens in the block belongs to this trace."""

    def current(self) -> str | None:
        """The context of what is being done now; None where nobody traces it."""


class Untraced:
    """Nobody wants traces. Costs a call a batch."""

    def sending(self, outgoing: list[Message]) -> AbstractContextManager[None]:
        """See `Tracing.sending`."""
        return _NOTHING

    def began(self, deliveries: Sequence[Delivery]) -> None:
        """See `Tracing.began`."""

    def failed(self, delivery: Delivery, error: Exception) -> None:
        """See `Tracing.failed`."""

    def ended(self, deliveries: Sequence[Delivery]) -> None:
        """See `Tracing.ended`."""

    def within(self, traceparent: str | None) -> AbstractContextManager[None]:
        """See `Tracing.within`."""
        return _NOTHING

    def current(self) -> str | None:
        """See `Tracing.current`."""
        return None


_NOTHING: Final = nullcontext()

UNTRACED: Final[Tracing] = Untraced()
