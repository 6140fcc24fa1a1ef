"""What the stories of the console begin with: orders in every kind of trouble, and people of every role."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Page, expect

from tests.system.deployment import ADMIN_TOKEN, Deployment, an_order

NOWHERE: Final = {
    "name": "A. Person",
    "line1": "1 Street",
    "city": "Town",
    "postal_code": "00000",
    "country": "DE",
}
"""An address that the sandbox's carrier refuses."""

HERE: Final = "SKU-1"
ELSEWHERE: Final = "SKU-2"
NOT_CARRIED: Final = "SKU-3.SHIP-REFUSED"
"""Products at a location each; the sandbox's carrier does not take the last."""

HEALTHY: Final = 5
"""Orders that go well before one that does not, which calls in vain twice, and twice more when retried."""

WITHIN_S: Final = 180
LOOK_EVERY_S: Final = 0.1
LOOKS_AN_ORDER: Final = 20
"""So often somebody looks at a saga in trouble before the next good order comes along."""

EXPECT_MS: Final = 30_000


@dataclass
class Stage:
    """A deployment with stock, and a token of each role by its role."""

    deployment: Deployment
    tokens: dict[str, str] = field(default_factory=lambda: {"admin": ADMIN_TOKEN})

    @property
    def url(self) -> str:
        """Where the console is served."""
        return self.deployment.url

    async def set_up(self) -> None:
        """Stock, and tokens of a viewer and an operator."""
        for sku, location in ((HERE, None), (ELSEWHERE, "harbour"), (NOT_CARRIED, "quay")):
            await self.deployment.count_stock(sku, 100_000, location)
        for role in ("viewer", "operator"):
            code, printed = await self.deployment.command(
                "tokens", "create", "--name", f"{role}-jane", "--role", role
            )
            assert code == 0, printed
            self.tokens[role] = printed.split()[-1]

    async def order(self, **changes: Any) -> str:
        """Submit an order; the id of its saga."""
        async with self.deployment.client() as client:
            answer = await client.post("/orders", json=an_order(**changes))
            assert answer.status_code == 202, answer.text
            return str(answer.json()["saga_id"])

    async def troubled_order(self, **changes: Any) -> str:
        """The same of an order that will be in trouble, after several that have gone well.

        Otherwise one trouble after the other opens the gateway's circuit breaker.
        """
        for saga_id in await asyncio.gather(*(self.order() for _ in range(HEALTHY))):
            await self.ended(saga_id)
        return await self.order(**changes)

    async def sent_back(self, saga_id: str, sku: str) -> str:
        """The saga of a return of one piece of an order that has arrived."""
        order_id = (await self.ended(saga_id))["order_id"]
        asked = {"lines": [{"sku": sku, "quantity": 1}], "reason": "too small"}
        async with self.deployment.client() as client:
            answer = await client.post(f"/orders/{order_id}/returns", json=asked)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["return_id"])

    async def goods_received(self, return_id: str, sku: str) -> None:
        """Tell a return that a piece of this product has come and can be sold again."""
        said = {"lines": [{"sku": sku, "disposition": "restock"}]}
        async with self.deployment.client() as client:
            answer = await client.post(f"/sagas/{return_id}/signals/goods_received", json=said)
            assert answer.status_code == 202, answer.text

    async def saga(self, saga_id: str) -> dict[str, Any]:
        """A saga as the API shows it."""
        async with self.deployment.client() as client:
            found: dict[str, Any] = (await client.get(f"/admin/sagas/{saga_id}")).json()
        return found

    async def ended(self, saga_id: str) -> dict[str, Any]:
        """A saga once it has ended."""
        return await self._once(saga_id, lambda saga: saga["ended_at"] is not None)

    async def stuck(self, saga_id: str) -> dict[str, Any]:
        """A saga once somebody has to look at it.

        Good orders come along: where the circuit breaker is open all the same, this saga's calls are its
        probes. They burn no attempt and keep it open (P9); one good order closes it.
        """
        return await self._once(saga_id, lambda saga: bool(saga["incidents"]), self.order)

    async def retry(self, saga: dict[str, Any], reason: str) -> None:
        """Retry a saga over the API, as somebody else would."""
        async with self.deployment.client() as client:
            answer = await client.post(
                f"/admin/sagas/{saga['saga_id']}/actions/retry",
                json={"reason": reason},
                headers={"If-Match": f'"{saga["version"]}"'},
            )
            assert answer.status_code in (200, 202), answer.text

    async def _once(
        self,
        saga_id: str,
        it_is: Callable[[dict[str, Any]], bool],
        meanwhile: Callable[[], Awaitable[Any]] | None = None,
    ) -> dict[str, Any]:
        looks, waiting_since = 0, time.monotonic()
        while not it_is(found := await self.saga(saga_id)):
            assert time.monotonic() - waiting_since < WITHIN_S, await self._story(saga_id)
            await asyncio.sleep(LOOK_EVERY_S)
            looks += 1
            if meanwhile is not None and looks % LOOKS_AN_ORDER == 0:
                await meanwhile()
        return found

    async def _story(self, saga_id: str) -> str:
        """What a saga is about, and what payment, where its trouble is made, has said."""
        async with self.deployment.client() as client:
            explained = (await client.get(f"/admin/sagas/{saga_id}/explain")).text
        return f"{explained}\n\npayment:\n{self.deployment.services['payment'].said[-5000:]}"

    async def sign_in(self, page: Page, role: str, at: str = "/console") -> None:
        """Open a page as somebody of this role, through the sign-in page."""
        await page.goto(at)
        await page.get_by_label("Token").fill(self.tokens[role])
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
