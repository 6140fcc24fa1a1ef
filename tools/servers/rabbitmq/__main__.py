"""Run a private RabbitMQ until Ctrl-C: `python -m tools.servers.rabbitmq [FOLDER]`; prints its AMQP URL."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from oms.embedded.child import ServerError
from tools.servers.rabbitmq.broker import CACHE, PrivateBroker, private_broker
from tools.servers.rabbitmq.installation import in_unpacked_system
from tools.servers.rabbitmq.node import RabbitNode


def main() -> int:
    """Start, print the URL, wait for SIGINT or SIGTERM, stop."""
    parser = argparse.ArgumentParser(prog="python -m tools.servers.rabbitmq", description=__doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(".oms/rabbitmq"),
        help="data, logs and settings (%(default)s)",
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="where packages are unpacked (%(default)s)")
    parser.add_argument(
        "--root",
        type=Path,
        help="run the RabbitMQ of a system that debootstrap unpacked there; FOLDER lies in it",
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _broker(options.folder, options.cache, options.root) as broker:
            sys.stdout.write(f"{broker.url}\n")
            sys.stdout.flush()
            while True:
                signal.pause()
    except KeyboardInterrupt:
        return 0
    except ServerError as error:
        sys.stderr.write(f"rabbitmq: {error}\n")
        return 1


def _broker(folder: Path, cache: Path, root: Path | None) -> PrivateBroker:
    if root is None:
        return private_broker(folder, cache=cache)
    return RabbitNode(in_unpacked_system(root), root / folder.relative_to(folder.anchor))


if __name__ == "__main__":
    sys.exit(main())
