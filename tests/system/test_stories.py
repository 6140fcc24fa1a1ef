"""The table of stories on real servers: one deployment for all of them, with an API for each flow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from simulation.stories.hands import NotAsTold
from simulation.stories.story import HELD_ABOVE, Ending, Flow, Story
from simulation.stories.table import STORIES
from simulation.stories.telling import tell
from tests.support.servers import Databases
from tests.system.deployment import Deployment, empty
from tests.system.storytellers import Board, HttpHands

pytestmark = [
    pytest.mark.rabbitmq,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
]

LONGEST_S = 540
"""After which a story that has not ended counts as one that never will."""

HOLDS = {"OMS_HOLD_ABOVE": f"EUR={HELD_ABOVE}"}

SPLIT = {"OMS_SHIPMENTS": "split"}

FLOWS: dict[Flow, dict[str, str]] = {
    Flow.CHARGE: {},
    Flow.CHARGE_HOLDS: HOLDS,
    Flow.CAPTURE: {"OMS_PAYMENT_FLOW": "capture"},
    Flow.CAPTURE_HOLDS: {"OMS_PAYMENT_FLOW": "capture", **HOLDS},
    Flow.CHARGE_SPLIT: SPLIT,
    Flow.CAPTURE_SPLIT: {"OMS_PAYMENT_FLOW": "capture", **SPLIT},
}
"""The variables of the API at which the orders of a flow are submitted."""


@dataclass(frozen=True)
class Told:
    """What was found at the end of every story, and what the audit said of all of them."""

    endings: dict[str, Ending | NotAsTold]
    audit: tuple[int, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(
    own_broker_url: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Told]:
    """All stories, told at the same time; re-sends come so late that no copy answers for a person."""
    await empty(own_broker_url)
    url = databases.create()
    patience = {"OMS_RETRY_DELAYS_S": "0.2,0.5", "OMS_RESEND_AFTER_S": "60", "OMS_STEP_DEADLINE_S": "3600"}
    deployment = Deployment(own_broker_url, url, tmp_path_factory.mktemp("logs"), **patience)
    deployment.services["orchestrator"].give(**HOLDS)
    apis = dict.fromkeys(Flow, deployment.services["api"])
    for flow, variables in FLOWS.items():
        if variables:
            apis[flow] = deployment.add(f"api-{flow.name.lower()}", ["api", "--port", "{port}"])
            apis[flow].give(**variables)
    await deployment.start()
    endings = await told_at(deployment, {flow: api.port for flow, api in apis.items()})
    yield Told(endings, await deployment.command("audit"))
    await deployment.stop()
    databases.drop(url)


async def told_at(deployment: Deployment, ports: dict[Flow, int]) -> dict[str, Ending | NotAsTold]:
    endings: dict[str, Ending | NotAsTold] = {}

    async def tell_one(story: Story) -> None:
        hands = HttpHands(deployment, client, f"http://127.0.0.1:{ports[story.flow]}", board)
        try:
            async with asyncio.timeout(LONGEST_S):
                endings[story.name] = await tell(story, hands)
        except NotAsTold as other:
            endings[story.name] = other
        except TimeoutError:
            endings[story.name] = NotAsTold("it has not ended")

    async with deployment.client() as client:
        client.timeout = httpx.Timeout(LONGEST_S)
        board = Board(client)
        async with asyncio.TaskGroup() as together:
            looking = together.create_task(board.keep_looking())
            await asyncio.gather(*map(tell_one, STORIES))
            looking.cancel()
    return endings


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.slug)
async def test_an_order_s_life_is_as_written(told: Told, story: Story) -> None:
    assert told.endings[story.name] == story.ending


async def test_the_audit_finds_nothing_amiss_in_any_of_them(told: Told) -> None:
    code, printed = told.audit
    assert code == 0, printed
