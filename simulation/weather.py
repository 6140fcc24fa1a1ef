"""Chance and misfortune: everything that a seed decides, and every fault that may strike."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """Everything that goes wrong in this world."""

    # on the way to and from the broker
    MESSAGE_LOST = "connection cut before a message arrived"
    CONFIRM_LOST = "confirm lost"
    MESSAGE_DELAYED = "message delayed"
    MESSAGE_DUPLICATED = "message duplicated"
    MESSAGE_REFUSED = "queue full for a while: messages refused by the broker"
    MESSAGE_FORGOTTEN = "message confirmed, then lost by the broker"
    REORDERED = "deliveries reordered"
    BROKER_CUT_OFF = "process cut off from the broker"
    BROKER_RESTARTED = "broker restarted"
    QUEUE_PURGED = "queue purged"
    # on the way to and from the database
    TRANSACTION_FAILED = "deadlock or serialization failure"
    COMMIT_AMBIGUOUS = "commit done, but reported as failed"
    COMMIT_FAILED = "connection lost before the commit"
    DATABASE_SLOW = "database slow"
    DATABASE_CUT_OFF = "process cut off from its database"
    DATABASE_RESTARTED = "database restarted"
    CLOCK_JUMPED = "database clock jumped"
    # processes
    CRASH_BEFORE_COMMIT = "crash before a commit"
    CRASH_AFTER_COMMIT = "crash after a commit"
    CRASH_BEFORE_PUBLISH = "crash before a publish"
    CRASH_AFTER_PUBLISH = "crash after a publish"
    CRASH_BEFORE_CONFIRM = "crash before a confirm"
    CRASH_AFTER_CONFIRM = "crash after a confirm"
    CRASH_BEFORE_ACK = "crash before an acknowledgement"
    CRASH_AFTER_ACK = "crash after an acknowledgement"
    CRASH = "crash at any time"
    PROCESS_STOPPED = "process stopped for a while"
    OLD_VERSION = "replica without the new definition version"
    # providers
    PROVIDER_DOWN = "provider down"
    PROVIDER_UNREACHED = "call lost on its way"
    ANSWER_LOST = "effect done, answer lost"
    EFFECT_LATE = "call given up, effect done late"
    PROVIDER_SLOW = "provider slow"
    VOID_LIES = "void confirmed, yet an earlier call takes effect"
    PROVIDER_MISUSE = "call refused for good until somebody repairs it"
    # what is stored, and what it is read by
    ROW_SPOILT = "an order's stored document spoilt until somebody repairs it"
    DEFINITION_EDITED = "the functions of the definitions edited without a new version"
    # other users of the broker
    FOREIGN_MESSAGE = "message of another installation"
    # came last: recorded tables know a fault by its place
    COMMIT_LATE = "connection lost during a commit, which is done a moment later"

    __hash__ = str.__hash__  # that of an enumeration is Python code, and faults are looked up all the time


PERMANENT = frozenset({Fault.PROVIDER_MISUSE})
"""Faults after which an incident may wait for a person's decision (S10)."""


class Chance:
    """Independent streams of chance by name, so that one more draw here changes nothing there."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str) -> random.Random:
        """The stream of that name; the same for the same seed, always."""
        return random.Random(f"{self.seed}/{name}")


OnStrike = Callable[[Fault, str, Any], None]


class Weather:
    """Decides whether a fault strikes; calm at the end, so that everything can recover."""

    def __init__(self, chance: Chance, rates: Mapping[Fault, float], on_strike: OnStrike) -> None:
        """
        Args:
            rates: how likely each fault is at each opportunity.
            on_strike: called with the fault, who is struck, and the saga concerned if there is one.
        """
        self._rates = dict(rates)
        self._streams = {fault: chance.stream(f"fault {fault.name}") for fault in rates}
        self._draws = {fault: stream.random for fault, stream in self._streams.items()}
        self._on_strike = on_strike

    def calm_down(self) -> None:
        """From now on nothing goes wrong."""
        self._rates.clear()

    def strikes(self, fault: Fault, who: str, saga_id: Any = None) -> bool:
        """Whether the fault strikes at this opportunity."""
        rate = self._rates.get(fault)
        if rate is None or self._draws[fault]() >= rate:
            return False
        self._on_strike(fault, who, saga_id)
        return True

    def amount(self, fault: Fault, least: float, most: float) -> float:
        """How hard a fault strikes: seconds, mostly small, seldom large."""
        return least + (most - least) * self._streams[fault].random() ** 3
