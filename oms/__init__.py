"""The front door: command line, settings, wiring, the all-in-one process and its embedded servers."""
