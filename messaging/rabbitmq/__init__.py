"""The transport over RabbitMQ."""

from __future__ import annotations

from messaging.rabbitmq.transport import RabbitMqTransport

__all__ = ["RabbitMqTransport"]
