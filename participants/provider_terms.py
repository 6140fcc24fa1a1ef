"""What every provider outside has in common: the key of a call, what is an answer, what is not (P6, P8).

An **answer** is a value: the provider did it, or refuses for a business reason. Whatever else
comes back is an exception, and says nothing about whether the effect happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from participants.breaker import CallResult

DEFAULT_KEY_LIFETIME_S = 86_400.0
"""A day: what the common payment gateways promise at least."""

DEFAULT_SETTLING_TIME_S = 120.0
"""How long after a call was given up it may still take effect, where the provider states nothing."""


def idempotency_key(saga_id: UUID, step: str, direction: str) -> str:
    """The identity of a piece of work towards a provider: the same however often it is sent (P6)."""
    return f"{saga_id}:{step}:{direction}"


@dataclass(frozen=True, slots=True)
class ProviderTraits:
    """What a provider promises, as data.

    ``key_lifetime_s``: how long it remembers an idempotency key at least; older intents are looked
    up by order, never called blind (P6). ``settling_time_s``: how long after the last call "not
    found" may still turn into "found"; only later is it proof of no effect (P10). ``refunds_in_part``:
    whether a payment gateway gives back a part of a charge.
    """

    key_lifetime_s: float = DEFAULT_KEY_LIFETIME_S
    settling_time_s: float = DEFAULT_SETTLING_TIME_S
    refunds_in_part: bool = True

    def __post_init__(self) -> None:
        if self.key_lifetime_s <= 0 or self.settling_time_s < 0:
            raise ValueError("key_lifetime_s: above 0 seconds; settling_time_s: 0 seconds or more")


@dataclass(frozen=True, slots=True)
class Voided:
    """Nothing happened under this key, and the provider has closed it: nothing ever will (P10)."""


@dataclass(frozen=True, slots=True)
class VoidNotOffered:
    """This provider cannot close a key; look-ups after the settling time are the only proof (P10)."""


class ProviderError(Exception):
    """The provider gave no answer to this call."""


class ProviderUnavailable(ProviderError):
    """Time-out, lost connection, server error, throttling: transient; the effect may have happened."""


class CallUnderWay(ProviderUnavailable):
    """The provider is still working on an earlier call with this key (409): ask again later."""


class ProviderMisuse(ProviderError):
    """The provider refuses the request as such: permanent; sending it again changes nothing."""


def judge(error: BaseException | None) -> CallResult:
    """What a call's end tells the circuit breaker; ``error`` is None after an answer (P9)."""
    if error is None or isinstance(error, (ProviderMisuse, CallUnderWay)):
        return CallResult.ANSWERED
    if isinstance(error, ProviderUnavailable):
        return CallResult.FAILED
    return CallResult.ABANDONED


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What a client of a provider has to keep to.

    Attributes:
        timeout_s: seconds within which every call ends, whatever happens.
        concurrency: most calls that are under way at once.
    """

    timeout_s: float
    concurrency: int
