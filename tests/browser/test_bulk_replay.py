"""Five hundred dead letters of one cause, replayed together, with the orchestrator killed in the middle."""

from __future__ import annotations

import re
import signal

import pytest
from playwright.async_api import Page, expect

from contracts.routing import INVENTORY
from tests.browser.stage import Stage
from tests.system.test_jobs import ORDERS, dead_reservations

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WHOLE_JOB_MS = 90_000


async def test_d5_a_group_is_replayed_and_the_progress_outlives_the_orchestrator(
    stage: Stage, page: Page
) -> None:
    async with stage.deployment.client() as client:
        try:
            await dead_reservations(stage.deployment, client)
        except BaseException:
            await stage.deployment.services[INVENTORY].start()
            raise
    await stage.sign_in(page, "operator")
    await page.get_by_role("link", name=re.compile("open dead letters")).click()
    group = page.get_by_role("row").filter(has_text="warehouse_closed")
    await expect(group).to_contain_text(str(ORDERS))

    # What it would do, and then do it.
    await group.get_by_role("link", name=re.compile("^Replay")).click()
    await expect(page.get_by_role("region", name="Dry run")).to_contain_text("nothing was done")
    begin = page.get_by_role("region", name="Begin")
    await begin.get_by_label("Reason").fill("the warehouse is open again")
    await begin.get_by_label("At most, a second").fill("60")
    await begin.get_by_role("button", name=re.compile(f"Replay {ORDERS} dead letters")).click()

    # It gets on while somebody looks, and the machine room is not kind to it.
    head = page.locator("#head")
    await expect(head.get_by_role("heading", level=1)).to_contain_text("running")
    await expect(head.locator(".far b")).not_to_have_text("0")
    orchestrator = stage.deployment.services["orchestrator"]
    await orchestrator.end(signal.SIGKILL)
    done = int(await head.locator(".far b").inner_text())
    assert 0 < done < ORDERS
    await orchestrator.start()

    await expect(head.locator(".far b")).to_have_text(str(ORDERS), timeout=WHOLE_JOB_MS)
    await expect(head.get_by_role("heading", level=1)).to_contain_text("finished", timeout=WHOLE_JOB_MS)
    succeeded = head.locator("dl > div").filter(has_text="Succeeded")
    await expect(succeeded).to_contain_text(str(ORDERS))

    # And with somebody in the warehouse, the orders go on.
    await stage.deployment.services[INVENTORY].start()
    await page.get_by_role("link", name="Dead letters", exact=True).click()
    await expect(group).to_have_count(0, timeout=WHOLE_JOB_MS)
