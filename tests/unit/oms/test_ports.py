"""Ports for servers that are restarted on the same one."""

from __future__ import annotations

from oms.embedded.ports import free_ports

FIRST_OF_OUTGOING_CONNECTIONS = 32_768
"""As Linux has it; elsewhere the range begins higher."""


def test_ports_are_different_and_no_outgoing_connection_takes_them_meanwhile() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < FIRST_OF_OUTGOING_CONNECTIONS
