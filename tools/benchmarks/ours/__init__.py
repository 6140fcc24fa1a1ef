"""The project itself at work, made by its own wiring. Only the providers are the benchmark's own."""
