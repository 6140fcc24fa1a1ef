"""A gateway or carrier as it is named on the command line: by its URL, as the sandbox, or a client."""

from __future__ import annotations

import importlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from oms.extensions import CARRIERS, GATEWAYS, installed
from oms.failures import Failure
from oms.settings import load_settings
from oms.wiring import Parts, parts_of, within_this_process
from participants.payment.gateway import PaymentGateway
from participants.shipping.carrier import Carrier

_OWN: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@asynccontextmanager
async def gateway_named(which: str) -> AsyncIterator[PaymentGateway]:
    """A gateway by its URL, the word ``sandbox``, ``package.module:function``, or the name of an extension's.

    Raises:
        Failure: it cannot be made.
    """
    if _OWN.fullmatch(which):
        yield _made(which, ("charge", "refund", "find_charge", "charges_of", "void"))
    else:
        async with _parts(_setting("payment_gateway", GATEWAYS, which), which) as parts:
            yield parts.payment_gateway()


@asynccontextmanager
async def carrier_named(which: str) -> AsyncIterator[Carrier]:
    """The same of a carrier. Raises Failure."""
    if _OWN.fullmatch(which):
        yield _made(which, ("ship", "find_shipment", "shipments_of", "void"))
    else:
        async with _parts(_setting("carrier", CARRIERS, which), which) as parts:
            yield parts.carrier()


@asynccontextmanager
async def _parts(setting: str, value: str) -> AsyncIterator[Parts]:
    async with parts_of(load_settings(**{setting: value}), within_this_process()) as parts:
        yield parts


def _setting(variable: str, group: str, which: str) -> str:
    """The setting that names it: an extension where there is one of the name, else a URL."""
    off = load_settings().extensions_off
    return variable if which in {each.name for each in installed(group, off)} else f"{variable}_url"


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
