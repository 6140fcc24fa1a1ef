"""Run a private RabbitMQ until Ctrl-C: `python -m oms.servers.rabbitmq [FOLDER]`; prints its AMQP URL."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from oms.servers.child import ServerError
from oms.servers.rabbitmq.broker import CACHE, private_broker


def main() -> int:
    """Start, print the URL, wait for SIGINT or SIGTERM, stop."""
    parser = argparse.ArgumentParser(prog="python -m oms.servers.rabbitmq", description=__doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(".oms/rabbitmq"),
        help="data, logs and settings (%(default)s)",
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="where packages are unpacked (%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with private_broker(options.folder, cache=options.cache) as broker:
            sys.stdout.write(f"{broker.url}\n")
            sys.stdout.flush()
            while True:
                signal.pause()
    except KeyboardInterrupt:
        return 0
    except ServerError as error:
        sys.stderr.write(f"rabbitmq: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
