"""Facts as a readable timeline: the story of one saga, or the part of it that explains a violation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from contracts.routing import COMMANDS_EXCHANGE
from messaging.transport import Message
from orchestrator.core.inputs import Input, OutcomeReceived, SignalReceived, WaitElapsed
from orchestrator.core.state import Saga
from participants.ledger import LedgerRow
from simulation.facts import (
    Acknowledged,
    Acted,
    Aged,
    Arrived,
    Asked,
    AskedForNothing,
    Authorized,
    Blundered,
    Charged,
    Committed,
    Deadlocked,
    Decided,
    Delivered,
    Effected,
    Expired,
    Fact,
    GivenUp,
    HandedOut,
    NamedBefore,
    Published,
    Refunded,
    Refused,
    Reversed,
    Shipped,
    Signalled,
    Started,
    Struck,
    Submitted,
    TakenOff,
)
from simulation.storage.orchestrator import DEAD_LETTERS, HISTORY, SAGAS
from simulation.storage.participants import LEDGER

Told = Iterator[tuple[str | None, str]]
"""Whom a line is about (a saga's or an order's id; None for everybody), and the line."""

TimedFact = tuple[float, Fact]


def timeline(facts: Iterable[TimedFact], about: Iterable[str] | None = None) -> Iterator[str]:
    """One line for everything that happened, or for what concerns some sagas and the world around them.

    Args:
        about: ids of sagas and of their orders; None for everything.
    """
    wanted = None if about is None else set(about)
    for at_s, fact in facts:
        for whom, line in _tell(fact):
            if wanted is None or whom is None or whom in wanted:
                yield f"{at_s:9.3f}  {_short(whom) if whom else '':12}  {line}"


def ids_of(facts: Iterable[TimedFact], about: str) -> set[str]:
    """A saga's and its order's id, given either of them."""
    for _, fact in facts:
        if isinstance(fact, Committed):
            for change in fact.of(SAGAS):
                pair = {str(change.after.saga_id), str(change.after.subject_id)}
                if about in pair:
                    return pair
    return {about}


def _tell(fact: Fact) -> Told:
    yield from _TELLERS[type(fact)](fact)


def _committed(fact: Committed) -> Told:
    for change in fact.changes:
        if change.table == HISTORY:
            entry = change.after
            sent = ", ".join(each["type"] for each in entry.led_to["sent"])
            became = f"{entry.led_to['status']}/{entry.led_to['order_status']}"
            name = _accepted(entry.accepted)
            arrow = f", sends {sent}" if sent else ""
            yield str(entry.saga_id), f"saga       v{entry.version} {name} → {became}{arrow}"
        elif change.table == SAGAS and change.before is not None:
            yield from _resent(change.before, change.after)
        elif change.table == LEDGER and change.after is None:
            yield str(change.before.saga_id), f"{fact.service:10} ledger: {change.before.command} is pruned"
        elif change.table == LEDGER:
            row: LedgerRow = change.after
            before = change.before.state if change.before is not None else "no row"
            yield (
                str(row.saga_id),
                f"{fact.service:10} ledger: {row.command}{_of(row.step)} {before} → {row.state}",
            )
        elif change.table == DEAD_LETTERS:
            dead = change.after.dead
            about = str(dead.saga_id) if dead.saga_id else None
            yield about, f"dead       {dead.type} {dead.error_type} is {dead.status} ({dead.deaths})"


def _accepted(happened: Input) -> str:
    """What a saga has accepted, and of which wait or branch."""
    match happened:
        case OutcomeReceived(event=event, step=step):
            return f"{event}{_of(step)}"
        case SignalReceived(wait=wait) | WaitElapsed(wait=wait):
            return f"{type(happened).__name__} {wait}"
        case _:
            return f"{type(happened).__name__}{_of(str(getattr(happened, 'step', '')))}"


def _of(step: str) -> str:
    """Which branch of several; nothing of a step that is there once: its command says which."""
    return f" of {step}" if step.endswith("]") else ""


def _of_body(body: bytes) -> str:
    """The same of a message, whatever is in it."""
    found = _BRANCH.search(body)
    return _of(found[1].decode()) if found else ""


_BRANCH: Final = re.compile(rb'"step":\s?"([a-z0-9_]+\[\d+\])"')


def _resent(before: Saga, after: Saga) -> Told:
    if before.version != after.version:
        return
    for awaited in after.awaited:
        earlier = before.waiting_for(awaited.step, awaited.direction)
        if earlier is not None and earlier.sending.attempts != awaited.sending.attempts:
            asked = f"{awaited.step} ({awaited.direction}), copy {awaited.sending.attempts}"
            yield str(after.saga_id), f"saga       asks again for {asked}"


def _aged(fact: Aged) -> Told:
    yield None, f"{fact.by.days} days go by"


def _deadlocked(fact: Deadlocked) -> Told:
    yield None, f"  !! {fact.service}: transactions wait for each other in a circle"


def _message(verb: str) -> Callable[[Any], Told]:
    def tell(fact: Any) -> Told:
        message: Message = fact.message
        if message.exchange == COMMANDS_EXCHANGE or message.routing_key.count("."):
            yield (
                str(message.correlation_id),
                f"{verb:10} {message.type}{_of_body(message.body)} to {message.routing_key}",
            )

    return tell


def _delivery(verb: str) -> Callable[[Any], Told]:
    def tell(fact: Any) -> Told:
        yield (
            fact.delivery.correlation_id,
            f"{fact.who:10} {verb} {fact.delivery.type}{_of_body(fact.delivery.body)}",
        )

    return tell


def _effected(fact: Effected) -> Told:
    yield str(fact.saga_id), f"EFFECT     {fact.participant} has done {fact.piece}"


def _reversed(fact: Reversed) -> Told:
    yield str(fact.saga_id), f"EFFECT     {fact.participant} has undone {fact.piece}"


def _started(fact: Started) -> Told:
    whom = str(fact.subject_id) if fact.subject_id else None
    yield whom, f"caller     {fact.owner} is answered about {fact.definition}"


def _signalled(fact: Signalled) -> Told:
    yield str(fact.saga_id), f"signal     {fact.wait} {dict(fact.body)}: {fact.came}"


def _authorized(fact: Authorized) -> Told:
    yield (
        fact.order_id,
        f"GATEWAY    sets {fact.amount} {fact.currency} aside{' anew' if fact.renewed else ''}",
    )


def _expired(fact: Expired) -> Told:
    yield fact.order_id, f"GATEWAY    {fact.amount} that were set aside have expired"


def _given_up(fact: GivenUp) -> Told:
    yield fact.order_id, f"GATEWAY    gives {fact.amount} up{' by hand' if fact.by_hand else ''}"


def _charged(fact: Charged) -> Told:
    verb = "captures" if fact.captured else "takes"
    yield fact.order_id, f"GATEWAY    {verb} {fact.amount} {fact.currency}"


def _refunded(fact: Refunded) -> Told:
    yield fact.order_id, f"GATEWAY    gives {fact.amount} back{' by hand' if fact.by_hand else ''}"


def _asked_for_nothing(fact: AskedForNothing) -> Told:
    yield fact.key.partition(":")[0], f"GATEWAY    refuses an amount of 0 at {fact.path}"


def _shipped(fact: Shipped) -> Told:
    yield fact.order_id, "CARRIER    takes the parcel"


def _named_before(fact: NamedBefore) -> Told:
    yield (
        str(fact.order_id),
        f"customer   {fact.customer_id} is told that it is called {fact.reference} already",
    )


def _submitted(fact: Submitted) -> Told:
    yield str(fact.order_id) if fact.order_id else None, f"customer   {fact.customer_id} is answered"


def _acted(fact: Acted) -> Told:
    yield str(fact.saga_id) if fact.saga_id else None, f"{fact.who:10} {fact.action}: {fact.came}"


def _blundered(fact: Blundered) -> Told:
    yield None, f"  ?? somebody is shown {fact.error}"


def _struck(fact: Struck) -> Told:
    yield str(fact.saga_id) if fact.saga_id else None, f"  !! {fact.who}: {fact.fault}"


def _decided(fact: Decided) -> Told:
    yield str(fact.saga_id), f"  · {fact.rule} ({fact.direction}): {fact.what}"


_TELLERS: Final[Mapping[type, Callable[[Any], Told]]] = {
    Committed: _committed,
    Aged: _aged,
    Deadlocked: _deadlocked,
    Published: _message("publishes"),
    Arrived: _message("broker has"),
    HandedOut: _message("broker hands out"),
    Refused: _message("broker refuses"),
    Delivered: _delivery("receives"),
    Acknowledged: _delivery("acknowledges"),
    TakenOff: lambda fact: iter(()),
    Effected: _effected,
    Reversed: _reversed,
    Asked: lambda fact: iter(()),
    Started: _started,
    Signalled: _signalled,
    Authorized: _authorized,
    Expired: _expired,
    GivenUp: _given_up,
    Charged: _charged,
    Refunded: _refunded,
    AskedForNothing: _asked_for_nothing,
    Shipped: _shipped,
    Submitted: _submitted,
    NamedBefore: _named_before,
    Acted: _acted,
    Blundered: _blundered,
    Struck: _struck,
    Decided: _decided,
}


def _short(name: str) -> str:
    """The end of an id, which differs where the beginning is only its time."""
    return name[-12:]
