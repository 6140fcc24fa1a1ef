"""The HTTP API under made-up requests, on the real stack (`make fuzz`)."""
