"""What operators see and do over HTTP. All of it needs a token."""
