"""The whole system on real servers, while everything around it fails: `make chaos`."""

from __future__ import annotations
