"""The endpoint as one process: ``python -m tools.benchmarks.peers.fastapi_insert DATABASE PORT``.

It validates the same order, inserts one row through asyncpg, and answers 202. No key, no saga, no message.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from typing import Annotated, Any, Final

import asyncpg
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel, Field

from tools.benchmarks.closed_loop import stay

POOL_SIZE: Final = 20
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Line(BaseModel):
    """So many of one product."""

    sku: Annotated[str, Field(min_length=1, max_length=64)]
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]
    unit_price: Annotated[int, Field(ge=0)]


class Address(BaseModel):
    """Where the order goes."""

    name: Text
    line1: Text
    line2: Text | None = None
    city: Text
    postal_code: Annotated[str, Field(min_length=1, max_length=20)]
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")]


class Order(BaseModel):
    """The body of ``POST /orders``."""

    customer_id: Text
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    lines: Annotated[list[Line], Field(min_length=1, max_length=100)]
    payment_method: Text
    shipping_address: Address


class Accepted(BaseModel):
    """The answer."""

    order_id: str
    status: str


def application(pool: Any) -> FastAPI:
    """The application over a pool of connections."""
    app = FastAPI()

    @app.post("/orders", status_code=202)
    async def submit(order: Order) -> Accepted:
        order_id = str(uuid.uuid4())
        await pool.execute(
            "INSERT INTO orders (order_id, document) VALUES ($1, $2)", order_id, order.model_dump_json()
        )
        return Accepted(order_id=order_id, status="pending")

    return app


async def run(database: str, port: int) -> None:
    """Serve until the harness hangs up."""
    pool = await asyncpg.create_pool(database, min_size=POOL_SIZE, max_size=POOL_SIZE)
    config = uvicorn.Config(
        application(pool), host="127.0.0.1", port=port, log_level="error", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await stay()
    server.should_exit = True
    await serving
    await pool.close()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], int(sys.argv[2])))
