"""Private RabbitMQ: `installation` is where the programs are, `node` is one running broker.

`python -m tools.servers.rabbitmq` runs one until Ctrl-C. Programs are looked for on the machine; else
packages of its own distribution are fetched and unpacked (no root, nothing installed); else a container
runs it.
"""
