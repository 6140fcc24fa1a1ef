"""The command line `oms`: a thin front of the HTTP API, the services, the audit and the demo."""

from __future__ import annotations

from oms.cli.app import main

__all__ = ["main"]
