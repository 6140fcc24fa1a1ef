"""A gateway or carrier as it is named on the command line: by its URL, as the sandbox, or a client."""

from __future__ import annotations

import importlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from oms.failures import Failure
from oms.settings import load_settings
from oms.wiring import Parts, parts_of, within_this_process
from participants.payment.gateway import PaymentGateway
from participants.shipping.carrier import Carrier

_OWN: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@asynccontextmanager
async def gateway_named(which: str) -> AsyncIterator[PaymentGateway]:
    """A gateway by its URL, the word ``sandbox``, or ``package.module:function``. Raises Failure."""
    if _OWN.fullmatch(which):
        yield _made(which, ("charge", "refund", "find_charge", "charges_of", "void"))
    else:
        async with _parts(payment_gateway_url=which) as parts:
            yield parts.payment_gateway()


@asynccontextmanager
async def carrier_named(which: str) -> AsyncIterator[Carrier]:
    """The same of a carrier. Raises Failure."""
    if _OWN.fullmatch(which):
        yield _made(which, ("ship", "find_shipment", "shipments_of", "void"))
    else:
        async with _parts(carrier_url=which) as parts:
            yield parts.carrier()


@asynccontextmanager
async def _parts(**url: str) -> AsyncIterator[Parts]:
    async with parts_of(load_settings(**url), within_this_process()) as parts:
        yield parts


def _made(which: str, methods: tuple[str, ...]) -> Any:
    """What a function without arguments returns, or an object that stands there itself."""
    module, _, name = which.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise Failure(f"{which} cannot be imported: {error}") from None
    except AttributeError:
        raise Failure(f"{which}: there is no {name} in {module}") from None
    made = found() if callable(found) else found
    if missing := [method for method in methods if not callable(getattr(made, method, None))]:
        raise Failure(f"{which} gives a {type(made).__name__}, which has no {', '.join(missing)}")
    return made
