"""The services of `compose.yaml` in containers; `make containers` has made images and a network for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.containers.__main__ import ENGINE, PROJECT, WORK
from tools.containers.compose import Compose
from tools.containers.podman import Podman


@pytest.fixture(scope="session")
def engine() -> Podman:
    if not WORK.exists():
        pytest.fail("these tests are run by `make containers`", pytrace=False)
    return ENGINE


@pytest.fixture(scope="session")
def services(engine: Podman) -> Iterator[Compose]:
    """All of them, up and healthy."""
    compose = Compose(PROJECT / "compose.yaml", engine)
    try:
        compose.up()
        yield compose
    finally:
        engine.run("rm", "--all", "--force", "--time=0")
