"""A broker by whatever way this machine allows: installed programs, else packages, else a container."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from oms.embedded.child import ServerError
from tools.servers.rabbitmq.container import RabbitContainer, find_engine
from tools.servers.rabbitmq.installation import Installation, find_installed
from tools.servers.rabbitmq.node import RabbitNode
from tools.servers.rabbitmq.packages import fetch_packages

PrivateBroker = RabbitNode | RabbitContainer
CACHE: Final = Path(".oms/servers")


def find_programs(cache: Path = CACHE) -> Installation:
    """Programs of a RabbitMQ: installed ones, else unpacked packages; ServerError when there are none."""
    return find_installed() or fetch_packages(cache.absolute())


def private_broker(folder: Path, *, cache: Path = CACHE) -> PrivateBroker:
    """A broker to be started in `folder`; packages are unpacked in `cache`, which many may share.

    Raises ServerError, saying what was tried and what a person can do, when there is no way.
    """
    try:
        return RabbitNode(find_programs(cache), folder)
    except ServerError as error:
        engine = find_engine()
        if engine is not None:
            return RabbitContainer(engine, folder)
        raise ServerError(
            f"no RabbitMQ can be had here: {str(error).rstrip('.')}; no container engine answers either. "
            "Install rabbitmq-server (3.10 or newer), or name a running broker in OMS_TEST_BROKER_URL."
        ) from None
