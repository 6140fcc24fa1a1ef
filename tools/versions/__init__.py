"""Tests on several versions of RabbitMQ and PostgreSQL (`make versions`)."""
