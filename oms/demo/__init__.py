"""The demo: the whole system in one process, sample orders, and the audit's word on what came of them."""

from __future__ import annotations

from oms.demo.play import run_demo, run_with_samples

__all__ = ["run_demo", "run_with_samples"]
