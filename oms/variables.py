"""The names of all environment variables that begin with ``OMS_``, so that a misspelt one is noticed.

`tests/unit/oms/test_variables.py` holds that none is missing and none is too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from oms.extensions import settings_of

PREFIX: Final = "OMS_"

CONFIG: Final = "OMS_CONFIG"
"""Names a file of settings, see `oms.configuration_file`."""

SETTINGS: Final = (
    "OMS_DATABASE_URL",
    "OMS_ORCHESTRATOR_DATABASE_URL",
    "OMS_INVENTORY_DATABASE_URL",
    "OMS_PAYMENT_DATABASE_URL",
    "OMS_SHIPPING_DATABASE_URL",
    "OMS_SANDBOX_DATABASE_URL",
    "OMS_AUDIT_DATABASE_URL",
    "OMS_BROKER_URL",
    "OMS_ADMIN_TOKEN",
    "OMS_ORDERS_TOKEN",
    "OMS_SAGA_TOKENS",
    "OMS_OIDC_ISSUER",
    "OMS_OIDC_CLIENT_ID",
    "OMS_OIDC_CLIENT_SECRET",
    "OMS_OIDC_AUDIENCE",
    "OMS_OIDC_ROLES",
    "OMS_OIDC_ROLES_CLAIM",
    "OMS_OIDC_NAME_CLAIM",
    "OMS_OIDC_SCOPES",
    "OMS_OIDC_SESSION_S",
    "OMS_PUBLIC_URL",
    "OMS_PAYMENT_GATEWAY",
    "OMS_PAYMENT_GATEWAY_URL",
    "OMS_CARRIER",
    "OMS_CARRIER_URL",
    "OMS_SAGA_DEFINITIONS",
    "OMS_DATABASE_CONNECTIONS",
    "OMS_EXTENSIONS_OFF",
    "OMS_PROVIDER_TIMEOUT_S",
    "OMS_PROVIDER_CONCURRENCY",
    "OMS_LINGER_S",
    "OMS_WEBHOOKS_PRIVATE",
    "OMS_WEBHOOKS_GIVE_UP_S",
    "OMS_ORDERS_OPEN",
    "OMS_SANDBOX_OPEN",
    "OMS_HEALTH_URLS",
    "OMS_HEALTH_PORT",
    "OMS_STOP_WITHIN_S",
    "OMS_LOG_FORMAT",
    "OMS_LOG_LEVEL",
    "OMS_LOG_REPEATS",
    "OMS_PAYMENT_FLOW",
    "OMS_SHIPMENTS",
    "OMS_HOLD_ABOVE",
    "OMS_RETURN_WITHIN_S",
    "OMS_STEP_DEADLINE_S",
    "OMS_STEP_GRACE_S",
    "OMS_RESEND_AFTER_S",
    "OMS_RETRY_DELAYS_S",
    "OMS_MAX_ATTEMPTS",
    "OMS_IDEMPOTENCY_TTL_S",
)
"""The settings of services. Each may also be in a file, which the variable with `_FILE` at its end names."""

OTHERS: Final = (
    "OMS_API_URL",
    "OMS_BENCH_BATCHES",
    "OMS_BENCH_PIPE",
    "OMS_BENCH_PORT",
    "OMS_BENCH_PROFILE",
    "OMS_BENCH_TIMELINE",
    CONFIG,
    "OMS_PICTURES",
    "OMS_SETUP_LOCKED",
    "OMS_TEST_BROKER_URL",
    "OMS_TEST_CHROMIUM",
    "OMS_TEST_DATABASE_URL",
    "OMS_TEST_FLOOD_CLIENTS",
    "OMS_TEST_HOSTILE_MESSAGES",
    "OMS_TEST_PGBOUNCER",
    "OMS_TEST_RABBITMQ_ROOT",
    "OMS_TEST_SEEDS",
)
"""What the command line, the benchmarks, the tests and the scripts read."""

KNOWN: Final = frozenset({*SETTINGS, *(f"{name}_FILE" for name in SETTINGS), *OTHERS})

_OF_KUBERNETES: Final = re.compile(r"OMS_\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP|SCTP)\w*)")
"""What Kubernetes tells every container of a service that is called `oms-...`."""


def listed(text: str) -> tuple[str, ...]:
    """What a variable lists with commas between, without the blanks around each; empty ones are none."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def doubts(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence on each variable that nobody reads, with the name that may be meant; never its value."""
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and not _is_known(name, environment[name]):
            near = get_close_matches(name.upper(), sorted(KNOWN), n=1, cutoff=0.75)
            meant = f": did you mean {near[0]}?" if near else ""
            yield f"there is no variable {name}, so it has no effect{meant}"


def _is_known(name: str, value: str) -> bool:
    if name in KNOWN or name.upper() in SETTINGS:  # settings take either case, nothing else does
        return True
    is_address = value.startswith(("tcp://", "udp://", "sctp://")) and name.endswith("_PORT")
    return is_address or _OF_KUBERNETES.fullmatch(name) is not None or settings_of(name)
