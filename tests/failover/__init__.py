"""Several servers of a kind, of which one is lost under load: `make failover`."""

from __future__ import annotations
