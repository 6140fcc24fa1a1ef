"""The system as it is deployed: six processes, real RabbitMQ and PostgreSQL, HTTP from outside."""

from __future__ import annotations
