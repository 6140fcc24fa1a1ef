"""The way to a sandbox in the same process: the same calls and replies, without HTTP between."""

from __future__ import annotations

import asyncio

from contracts.problems import ProblemError
from oms.sandbox.operations import LISTINGS, POSTINGS, idempotency_key_of, listing_of
from oms.sandbox.service import Sandbox
from participants.provider_http import Call, Reply
from participants.provider_terms import ProviderUnavailable


class SandboxExchange:
    """An `ProviderExchange` that asks a `Sandbox` directly. ``timeout_s`` bounds one call, as over HTTP."""

    def __init__(self, sandbox: Sandbox, *, timeout_s: float = 10.0) -> None:
        self._sandbox = sandbox
        self._timeout_s = timeout_s

    async def perform(self, call: Call) -> Reply:
        """See `ProviderExchange.perform`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._reply(call)
        except TimeoutError:
            raise ProviderUnavailable(f"{call}: no reply within {self._timeout_s:g} s") from None

    async def close(self) -> None:
        """Nothing to give back: the database engine is its owner's."""

    async def _reply(self, call: Call) -> Reply:
        try:
            if call.method == "GET":
                return await self._sandbox.list(LISTINGS[call.path], listing_of(call.query))
            posting = POSTINGS[call.path]
            request = posting.parse(call.body or {})
            return await posting.perform(self._sandbox, idempotency_key_of(call.key), request, _client_stays)
        except ProblemError as refused:
            return Reply(refused.status, refused.problem.model_dump(exclude_none=True))


async def _client_stays() -> None:
    """Here a client leaves by cancelling the call."""
    await asyncio.get_running_loop().create_future()
