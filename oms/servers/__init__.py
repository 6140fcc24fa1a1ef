"""Private servers: programs we start for ourselves, each in a folder and on a loopback port of its own."""
