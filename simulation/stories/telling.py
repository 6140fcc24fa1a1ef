"""Tells a story in whichever world, and says what was found at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulation.stories.acts import FIRST_KEY, Stage
from simulation.stories.endings import SETTLED
from simulation.stories.hands import Hands, NotAsTold
from simulation.stories.story import Ending, Money, Returned, Stock, Story

PARCELS: Final = ("OrderFulfilled", "ShipmentRejected")
"""What becomes of a parcel, in the order of the alphabet."""


async def tell(story: Story, hands: Hands) -> Ending:
    """From the first count of stock to the end of the order and its returns. Raises NotAsTold."""
    for product, level in story.ending.stock.items():
        await hands.count_stock(story.sku(product), level.before, story.places.get(product))
    answer = await hands.submit(story.submission, FIRST_KEY)
    if answer.subject_id is None:
        raise NotAsTold(f"the order was refused: {answer.refused}")
    stage = Stage(hands, story.sku, story.submission, answer.subject_id)
    for act in story.acts:
        await act.play(stage)
    for subject_id in (stage.order_id, *stage.returns):
        await stage.until(subject_id, "its end", lambda look: look.ended and not look.incident)
    return await _found(story, stage)


async def _found(story: Story, stage: Stage) -> Ending:
    hands, order_id = stage.hands, stage.order_id
    parcels = [
        {story.product(sku): count for sku, count in parcel.items()}
        for parcel in await hands.parcels(order_id)
    ]
    returns = [
        Returned((await hands.look(made)).label, _plain(await hands.events(made))) for made in stage.returns
    ]
    return Ending(
        status=(await hands.look(order_id)).label,
        failure=await hands.failure(order_id),
        stock={product: await _level(story, hands, product) for product in story.ending.stock},
        money=Money(*await hands.money(order_id)),
        parcels=tuple(parcels),
        events=_plain(await hands.events(order_id)),
        returns=tuple(returns),
        orders=await hands.orders_of(story.slug),
    )


async def _level(story: Story, hands: Hands, product: str) -> Stock:
    on_hand, reserved = await hands.stock(story.sku(product))
    if reserved:
        raise NotAsTold(f"{reserved} {product} are reserved still")
    return Stock(story.ending.stock[product].before, on_hand)


def _plain(types: Sequence[str]) -> tuple[str, ...]:
    """Without the word that all have in common; a verdict that had to be said again is told once.

    What becomes of parcels comes in any order: those that left are told first.
    """
    told = [each.removesuffix("Event") for each in types]
    of_parcels = [at for at, each in enumerate(told) if each in PARCELS]
    for at, each in zip(of_parcels, sorted(told[at] for at in of_parcels), strict=True):
        told[at] = each
    again = [each == before == SETTLED for each, before in zip(told, ["", *told], strict=False)]
    return tuple(each for each, repeated in zip(told, again, strict=True) if not repeated)
