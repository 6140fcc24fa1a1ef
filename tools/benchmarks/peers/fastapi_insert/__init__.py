"""The simplest durable intake there is: a FastAPI endpoint that inserts one row per request."""
