"""Several RabbitMQ nodes on one machine that form a cluster."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tools.servers.rabbitmq.erlang import ErlangNeighbourhood
from tools.servers.rabbitmq.installation import Installation
from tools.servers.rabbitmq.node import RabbitNode

_JOINS_THE_FIRST: Final = """\
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = rabbit1@localhost
cluster_formation.classic_config.nodes.2 = rabbit{number}@localhost
"""


class RabbitCluster:
    """`size` nodes in folders below `folder`, joined at the first start; use it in `with`.

    Each of `nodes` can be killed, suspended and restarted by itself; it finds its cluster again.
    """

    def __init__(self, installation: Installation, folder: Path, *, size: int = 3, config: str = "") -> None:
        folder = folder.absolute()
        self._neighbourhood = ErlangNeighbourhood(installation, folder / "home")
        self.nodes = tuple(
            RabbitNode(
                installation,
                folder / f"node{number}",
                name=f"rabbit{number}",
                config=config + (_JOINS_THE_FIRST.format(number=number) if number > 1 else ""),
                neighbourhood=self._neighbourhood,
            )
            for number in range(1, size + 1)
        )

    @property
    def url(self) -> str:
        """The URLs of all nodes, separated by commas."""
        return ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        """Start the nodes one after the other; each new one joins the first before it accepts connections."""
        self._neighbourhood.start()
        try:
            for node in self.nodes:
                node.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all nodes, the first one last, so that a next start finds it as it was."""
        try:
            for node in reversed(self.nodes):
                node.stop()
        finally:
            self._neighbourhood.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
