"""Servers that the project is tried on: RabbitMQ from Debian's packages, beneath `.oms/`."""
