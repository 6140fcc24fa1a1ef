"""Notes when a process publishes, receives, and asks its database: for `oms bench alone --timeline`.

The clock is the machine's, the same for all of its processes. Nothing is noted unless a folder is named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import monotonic
from typing import Any, Final

from messaging.rabbitmq.publisher import RabbitMqPublisher
from messaging.rabbitmq.subscriber import RabbitMqSubscription
from messaging.round_trip import COMMIT, Connection
from messaging.transport import Message
from orchestrator.intake import Intake
from tools.benchmarks.closed_loop import ClosedLoop

FOLDER_VARIABLE: Final = "OMS_BENCH_TIMELINE"
"""A folder; each process leaves its notes there."""

Note = dict[str, Any]


@contextmanager
def recorded(process: str) -> Iterator[None]:
    """Note what happens within, where that is asked for, and write it down at the end."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        yield
        return
    recorder = Recorder()
    recorder.listen()
    yield
    Path(folder).mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"process": process, **note}) + "\n" for note in recorder.notes)
    Path(folder, f"{process}.jsonl").write_text(lines)


class Recorder:
    """Has the project's own classes note what they do, for as long as the process lives."""

    def __init__(self) -> None:
        self.notes: list[Note] = []

    def listen(self) -> None:
        """Begin."""
        for owner, name, noting in (
            (RabbitMqPublisher, "publish", self._publish),
            (RabbitMqSubscription, "receive", self._receive),
            (Connection, "ask", self._ask),
            (Intake, "submit", self._submit),
            (ClosedLoop, "ended", self._ended),
        ):
            setattr(owner, name, wraps(getattr(owner, name))(noting(getattr(owner, name))))

    def _note(self, kind: str, saga_id: object, **more: object) -> None:
        self.notes.append({"kind": kind, "at": monotonic(), "saga": str(saga_id), **more})

    def _publish(self, original: Callable[..., None]) -> Callable[..., None]:
        def noting(publisher: Any, messages: Sequence[Message], confirm: Any) -> None:
            for each in messages:
                own = {"message": str(each.message_id), "type": each.type, "waited": each.mandatory}
                self._note("publish", each.correlation_id, **own)
            original(publisher, messages, confirm)

        return noting

    def _receive(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def noting(subscription: Any, limit: int) -> Any:
            came = await original(subscription, limit)
            for each in came:
                self._note("receive", each.correlation_id, message=each.message_id, type=each.type)
            return came

        return noting

    def _ask(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def noting(connection: Any, statements: Sequence[Any]) -> Any:
            at = monotonic()
            try:
                return await original(connection, statements)
            finally:
                kind = "commit" if statements[-1] == COMMIT else "read"
                self.notes.append({"kind": kind, "at": at, "until": monotonic()})

        return noting

    def _submit(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def noting(intake: Any, submission: Any) -> Any:
            self._note("submit", submission.saga_id)
            return await original(intake, submission)

        return noting

    def _ended(self, original: Callable[..., None]) -> Callable[..., None]:
        def noting(loop: Any, saga_id: Any, outcome: Any) -> None:
            self._note("end", saga_id)
            original(loop, saga_id, outcome)

        return noting
