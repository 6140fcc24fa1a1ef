"""The circuit breaker at each provider (P9), as pure state: no I/O, no clock, no tasks.

    closed ──(enough failures in the window)──► open ──(cool-down over)──► half-open
      ▲                                          ▲                            │ one probe at a time
      └──────────────(probe answered)────────────┼────────────────────────────┤
                                                 └──────(probe failed)────────┘

Every call asks `CircuitBreaker.admit` first and hands the admission back to
`CircuitBreaker.record` with what became of it. ``now`` is any monotonic clock, in seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

_BUCKETS = 10
"""Parts of the window: what is older than the window leaves it in steps of this size."""


class BreakerState(StrEnum):
    """Where the breaker stands; the value is the metric's label."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CallResult(StrEnum):
    """What a call says about the provider's health, not about the business."""

    ANSWERED = "answered"
    """The provider spoke: a success, a business rejection, or a refusal of a request that we got wrong."""
    FAILED = "failed"
    """A time-out, a lost connection, a server error."""
    ABANDONED = "abandoned"
    """We gave up ourselves (a cancellation): says nothing about the provider."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to open, and for how long.

    ``failure_share`` (above 0, at most 1) of at least ``minimum_calls`` within ``window_s`` opens.
    A probe of which nothing is heard for ``probe_patience_s`` counts as failed, so that a lost
    caller can't keep the breaker shut for ever; set it above the longest call.
    """

    failure_share: float = 0.5
    minimum_calls: int = 10
    window_s: float = 10.0
    cool_down_s: float = 5.0
    probe_patience_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.failure_share <= 1:
            raise ValueError("failure_share: above 0 and at most 1")
        if self.minimum_calls < 1:
            raise ValueError("minimum_calls: at least 1")
        for name in ("window_s", "cool_down_s", "probe_patience_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: above 0 seconds")


@dataclass(frozen=True, slots=True)
class Admission:
    """Leave to make one call. What comes back from an earlier ``generation`` changes nothing.

    Attributes:
        probe: it is the one call that asks whether the provider is back.
    """

    generation: int
    probe: bool = False


@dataclass(slots=True)
class _Bucket:
    since: float
    calls: int = 0
    failures: int = 0


class CircuitBreaker:
    """Counts calls and says whether the next one may be made."""

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self._policy = policy or BreakerPolicy()
        self._generation = 0
        self._window: deque[_Bucket] = deque()
        self._opened_at: float | None = None
        self._probe_since: float | None = None

    def state(self, now: float) -> BreakerState:
        """The state as of ``now``: an open breaker is half-open once its cool-down is over."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        self._give_up_silent_probe(now)
        if now < self._opened_at + self._policy.cool_down_s:
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN

    def admit(self, now: float) -> Admission | None:
        """Leave for a call, or None while open or while another probe is under way."""
        state = self.state(now)
        if state is BreakerState.CLOSED:
            return Admission(self._generation)
        if state is BreakerState.OPEN or self._probe_since is not None:
            return None
        self._probe_since = now
        return Admission(self._generation, probe=True)

    def record(self, admission: Admission, result: CallResult, now: float) -> None:
        """What became of an admitted call. Late results, of calls begun before a change, are ignored."""
        if admission.generation != self._generation:
            return
        if self._opened_at is not None:
            self._end_probe(result, now)
        elif result is not CallResult.ABANDONED:
            self._count(result, now)

    def next_admission_at(self, now: float) -> float:
        """The earliest time at which `admit` can say yes, if nothing is recorded before."""
        state = self.state(now)
        if state is BreakerState.OPEN:
            assert self._opened_at is not None
            return self._opened_at + self._policy.cool_down_s
        if state is BreakerState.HALF_OPEN and self._probe_since is not None:
            return self._probe_since + self._policy.probe_patience_s + self._policy.cool_down_s
        return now

    def _end_probe(self, result: CallResult, now: float) -> None:
        if result is CallResult.ABANDONED:
            self._probe_since = None
        elif result is CallResult.ANSWERED:
            self._close()
        else:
            self._open(now)

    def _give_up_silent_probe(self, now: float) -> None:
        if self._probe_since is None:
            return
        given_up_at = self._probe_since + self._policy.probe_patience_s
        if now >= given_up_at:
            self._open(given_up_at)

    def _count(self, result: CallResult, now: float) -> None:
        bucket = self._bucket(now)
        bucket.calls += 1
        if result is CallResult.FAILED:
            bucket.failures += 1
            if self._too_many_failures():
                self._open(now)

    def _bucket(self, now: float) -> _Bucket:
        while self._window and self._window[0].since <= now - self._policy.window_s:
            self._window.popleft()
        if not self._window or now >= self._window[-1].since + self._policy.window_s / _BUCKETS:
            self._window.append(_Bucket(now))
        return self._window[-1]

    def _too_many_failures(self) -> bool:
        calls = sum(bucket.calls for bucket in self._window)
        failures = sum(bucket.failures for bucket in self._window)
        return calls >= self._policy.minimum_calls and failures >= calls * self._policy.failure_share

    def _open(self, now: float) -> None:
        self._generation += 1
        self._opened_at = now
        self._probe_since = None
        self._window.clear()

    def _close(self) -> None:
        self._generation += 1
        self._opened_at = None
        self._probe_since = None
