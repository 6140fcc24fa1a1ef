"""The services as processes of their own, started and ended as an operator would."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aio_pika
import httpx
from sqlalchemy import NullPool, create_engine, text

from contracts.routing import (
    INSTALLATION_EXCHANGE,
    OUTCOMES_QUEUE,
    PARTICIPANTS,
    command_queue,
    dead_letter_queue,
)
from oms.embedded.ports import free_ports

ADMIN_TOKEN: Final = "a-token-for-tests"
READY_WITHIN_S: Final = 600
ENDED_WITHIN_S: Final = 120
OMS: Final = (sys.executable, "-c", "import sys; from oms.cli import main; sys.exit(main())")
"""The command `oms` of the Python that runs the tests."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    return free_ports(1)[0]


class ServiceProcess:
    """One `oms ...` process; ``port`` answers `/livez` and `/readyz`."""

    def __init__(
        self, name: str, arguments: list[str], environment: Mapping[str, str], port: int, folder: Path
    ) -> None:
        self.name = name
        self.port = port
        self._arguments = arguments
        self._environment = dict(environment)
        self._log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def give(self, **variables: str) -> None:
        """Further variables, from its next start on."""
        self._environment.update(variables)

    async def start(self, command: Sequence[str] = OMS) -> None:
        """Start it; it need not be ready yet.

        In a session of its own, as a service manager does: Linux then shares the processors out to it as to
        any other program, and Ctrl-C at the terminal reaches us alone.
        """
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                *self._arguments,
                env={**_plain_environment(), **self._environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Return when it says that it is; fails with its log when it ended or never is."""
        try:
            async with asyncio.timeout(READY_WITHIN_S), httpx.AsyncClient() as client:
                while not await self._is_ready(client):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{self.name} is not ready:\n{self.said[-3000:]}") from None

    async def replaced(self, **variables: str) -> None:
        """End it as an operator would, and start its successor, with further variables; it is ready then."""
        assert await self.end() == 0, f"{self.name} ended badly:\n{self.said[-3000:]}"
        self.give(**variables)
        await self.start()
        await self.ready()

    async def up(self) -> None:
        """Return when it answers at all, ready or not; fails as `ready` does."""
        try:
            async with asyncio.timeout(READY_WITHIN_S), httpx.AsyncClient() as client:
                while await self._asked(client, "/livez") is None:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{self.name} does not answer:\n{self.said[-3000:]}") from None

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        answer = await self._asked(client, "/readyz")
        return answer is not None and answer.status_code == 200 and answer.json()["status"] == "ok"

    async def _asked(self, client: httpx.AsyncClient, path: str) -> httpx.Response | None:
        assert self._process is not None
        assert self._process.returncode is None, f"{self.name} ended:\n{self.said[-3000:]}"
        try:
            return await client.get(f"http://127.0.0.1:{self.port}{path}")
        except httpx.TransportError:
            return None

    async def end(self, with_signal: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait, return the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(with_signal)
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended by itself, return the exit code."""
        assert self._process is not None
        async with asyncio.timeout(ENDED_WITHIN_S):
            return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it, and do not wait for what comes of that; harmless when it has ended."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    @property
    def said(self) -> str:
        """Everything that it has logged."""
        return self._log.read_text() if self._log.exists() else ""


class Deployment:
    """All services over one broker and one database."""

    def __init__(self, broker_url: str, database_url: str, folder: Path, **variables: str) -> None:
        self.broker_url = broker_url
        self.database_url = database_url
        self.environment = {
            "OMS_DATABASE_URL": database_url,
            "OMS_BROKER_URL": broker_url,
            "OMS_ADMIN_TOKEN": ADMIN_TOKEN,
            "OMS_LOG_FORMAT": "json",
            **variables,
        }
        self.services: dict[str, ServiceProcess] = {}
        self._folder = folder
        sandbox = self.add("sandbox", ["sandbox", "--port", "{port}"])
        providers = {
            "OMS_PAYMENT_GATEWAY_URL": f"http://127.0.0.1:{sandbox.port}",
            "OMS_CARRIER_URL": f"http://127.0.0.1:{sandbox.port}",
        }
        self.environment = {**providers, **self.environment}
        api = self.add("api", ["api", "--port", "{port}"])
        self.add("orchestrator", ["orchestrator"])
        for participant in PARTICIPANTS:
            self.add(participant, ["participant", participant])
        self.url = f"http://127.0.0.1:{api.port}"
        self.sandbox_url = f"http://127.0.0.1:{sandbox.port}"

    def add(self, name: str, arguments: list[str]) -> ServiceProcess:
        """A further process, started and stopped with the others; ``{port}`` stands for its port."""
        port = free_port()
        given = [argument.format(port=port) for argument in arguments]
        environment = {**self.environment, "OMS_HEALTH_PORT": str(port)}
        self.services[name] = ServiceProcess(name, given, environment, port, self._folder)
        return self.services[name]

    async def start(self) -> None:
        """Start everything; returns when all are ready."""
        await self.command("migrate")
        for service in self.services.values():
            await service.start()
        await asyncio.gather(*(service.ready() for service in self.services.values()))

    async def stop(self) -> None:
        """End everything as an operator would."""
        await asyncio.gather(*(service.end() for service in self.services.values()))

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run `oms ...` in this environment; returns exit code and what it printed."""
        return await run_oms(arguments, {**self.environment, "OMS_API_URL": self.url})

    async def rows(self, query: str, **parameters: Any) -> list[Any]:
        """What a query finds in the database, past all services."""
        return await asyncio.to_thread(self._rows, query, parameters)

    def _rows(self, query: str, parameters: Mapping[str, Any]) -> list[Any]:
        with create_engine(self.database_url, poolclass=NullPool).connect() as connection:
            return list(connection.execute(text(query), parameters))

    async def count_stock(self, sku: str, on_hand: int, location: str | None = None) -> None:
        """Say how many of a product there are, and where, if that has a name."""
        place = {} if location is None else {"location": location}
        async with self.client() as client:
            (await client.put(f"/inventory/{sku}", json={"on_hand": on_hand, **place})).raise_for_status()

    async def stock(self) -> list[tuple[str, int, int]]:
        """Every product, how many are on hand, and how many of these are reserved."""
        rows = await self.rows("SELECT sku, on_hand, reserved FROM inventory.stock")
        return [(sku, on_hand, reserved) for sku, on_hand, reserved in rows]

    def client(self) -> httpx.AsyncClient:
        """A client of the HTTP API with the admin's token."""
        return httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, timeout=30
        )


async def run_oms(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run `oms ...`; returns exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *OMS,
        *arguments,
        env={**_plain_environment(), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def empty(broker_url: str) -> None:
    """Delete our queues from a broker, and whose it is, so that nothing of an earlier run is there."""
    queues = [OUTCOMES_QUEUE, *map(command_queue, PARTICIPANTS)]
    connection = await aio_pika.connect(broker_url)
    async with connection:
        for queue in (*queues, *map(dead_letter_queue, queues)):
            channel = await connection.channel()
            await channel.queue_delete(queue)
        await (await connection.channel()).exchange_delete(INSTALLATION_EXCHANGE)


def an_order(**changes: Any) -> dict[str, Any]:
    """A good order as a client would send it."""
    return {
        "customer_id": "c-42",
        "currency": "EUR",
        "lines": [{"sku": "SKU-1", "quantity": 1, "unit_price": 1299}],
        "payment_method": "pm_card_visa",
        "shipping_address": {
            "name": "A. Person",
            "line1": "1 Street",
            "city": "Town",
            "postal_code": "12345",
            "country": "DE",
        },
        **changes,
    }


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OMS_")}
