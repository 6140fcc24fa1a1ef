"""Which policies at the broker would lose messages of our queues: told from what `rabbitmqctl` lists.

AMQP tells nothing of policies, so nobody but who may ask the broker's own tools can see them. What is
declared with a queue goes before a policy for its dead-letter exchange, key and strategy; ``overflow`` of a
policy goes before what is declared; of limits the lower one counts, and what is not declared is the policy's
(tried on RabbitMQ 3.10 and 4.0). A ``delivery-limit`` below zero is none, so what is declared counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from messaging.transport import Queue
from oms.failures import Failure

REFUSES: Final = "reject-publish"
_LENGTHS: Final = ("max-length", "max-length-bytes")
_NUMBERS: Final = frozenset({*_LENGTHS, "expires", "message-ttl", "delivery-limit"})
_QUEUES: Final = ("all", "queues", "quorum_queues")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy or an operator policy."""

    name: str
    pattern: re.Pattern[str]
    definition: Mapping[str, Any]


def read(text: str) -> list[Policy]:
    """The policies for queues in one or several JSON lists of `rabbitmqctl`.

    Raises:
        Failure: this is not what `rabbitmqctl list_policies --formatter json` prints.
    """
    try:
        return [_policy(each) for each in _listed(text) if each["apply-to"] in _QUEUES]
    except (ValueError, KeyError, TypeError, RecursionError, re.error) as error:
        raise Failure(
            "these are not policies as `rabbitmqctl -q list_policies --formatter json` lists them: "
            f"{type(error).__name__} {error}"
        ) from None


def harms(policies: Sequence[Policy], queues: Sequence[Queue]) -> list[str]:
    """A line for each harm that a policy would do to one of these queues.

    Each policy is looked at by itself: of several for one queue the broker takes the one of highest priority,
    and whoever removes that one has the next.
    """
    return [
        f"policy {policy.name} on {queue.name}: {harm}"
        for policy in policies
        for queue in queues
        if policy.pattern.search(queue.name)
        for harm in _harms(policy.definition, queue)
    ]


def _listed(text: str) -> Iterator[Mapping[str, Any]]:
    decoder, rest = json.JSONDecoder(), text.lstrip()
    while rest:
        policies, end = decoder.raw_decode(rest)
        yield from policies
        rest = rest[end:].lstrip()


def _policy(listed: Mapping[str, Any]) -> Policy:
    definition = listed["definition"]
    if isinstance(definition, str):
        definition = json.loads(definition)
    given = dict(definition)
    for name in _NUMBERS & given.keys():
        if type(given[name]) is not int:
            raise ValueError(f"{name} is no whole number")
    return Policy(str(listed["name"]), re.compile(listed["pattern"]), given)


def _harms(definition: Mapping[str, Any], queue: Queue) -> Iterator[str]:
    holds_dead_letters = queue.dead_letter_queue is None
    overflow = definition.get("overflow")
    if overflow is not None and overflow != REFUSES:
        yield f"overflow {overflow} drops messages when it is full; it must be {REFUSES}"
    if overflow is None and holds_dead_letters:
        for length in (each for each in _LENGTHS if each in definition):
            yield f"{length} drops dead letters where an earlier release declared it: add overflow {REFUSES}"
    if "expires" in definition:
        yield "expires deletes it, with all it holds, when nobody has consumed from it for so long"
    if "message-ttl" in definition and (harm := _by_time(definition["message-ttl"], queue)):
        yield harm
    limit = definition.get("delivery-limit")
    if limit is not None and 0 <= limit < queue.delivery_limit:
        what = "drops a dead letter" if holds_dead_letters else "gives a message up"
        yield f"delivery-limit {what} after {limit} redeliveries, not {queue.delivery_limit}"


def _by_time(ttl_ms: int, queue: Queue) -> str | None:
    if queue.dead_letter_queue is None:
        return "message-ttl deletes dead letters that wait for longer"
    if queue.ttl_s is None:
        return "message-ttl makes dead letters of messages that wait for longer"
    if ttl_ms < 1000 * queue.ttl_s:
        return f"message-ttl shortens the delay before a retry to {ttl_ms} ms"
    return None
