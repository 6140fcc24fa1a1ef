"""A certified OpenID provider (`oidc-provider` from npm), as a process on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from oms.embedded.ports import free_ports
from tests.support.issuers import CLIENT, SigningKey
from tests.support.servers import PROJECT
from tools.nodejs import Node, find_node

FOLDER: Final = PROJECT / "tools/oidc"
SECRET: Final = "a-secret-of-the-console"
RESOURCE: Final = "urn:oms-api"
PROGRAM: Final = "a-program"
UP_WITHIN_S: Final = 120

PEOPLE: Final = {
    "ada": {"preferred_username": "Ada", "groups": ["oms-admins", "all"]},
    "olga": {"preferred_username": "Olga", "groups": ["oms-operators"]},
    "nobody": {"preferred_username": "Norbert", "groups": ["all"]},
}


class CertifiedProvider:
    """The provider: started and ended at will, always at the same address.

    Attributes:
        keys: what it signs with from its next start on, the first of them.
    """

    def __init__(self, folder: Path, home: str) -> None:
        """
        Args:
            home: where the console is.
        """
        [self._port] = free_ports(1)
        self.url = f"http://localhost:{self._port}"
        self.home = home
        self.keys = [SigningKey("first")]
        self._configuration = folder / "provider.json"
        self._log = folder / "provider.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; returns when it answers."""
        node, folder = await asyncio.to_thread(_installed)
        self._configuration.write_text(json.dumps(self._configured()))
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                node.node, "provider.js", str(self._configuration), cwd=folder, stdout=log, stderr=log
            )
        async with asyncio.timeout(UP_WITHIN_S), httpx.AsyncClient() as client:
            while not await self._answers(client):
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """End it; what it knew of people is forgotten."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def restart(self, *keys: SigningKey) -> None:
        """The same with other keys, where some are given."""
        await self.stop()
        self.keys = list(keys) or self.keys
        await self.start()

    async def program_token(self, resource: str = RESOURCE) -> str:
        """An access token for a program, by the client credentials grant."""
        asked = {"grant_type": "client_credentials", "resource": resource, "scope": "act"}
        async with httpx.AsyncClient(auth=(PROGRAM, SECRET)) as client:
            answer = await client.post(f"{self.url}/token", data=asked)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def _answers(self, client: httpx.AsyncClient) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self._log.read_text()
        try:
            return (await client.get(f"{self.url}/.well-known/openid-configuration")).is_success
        except httpx.TransportError:
            return False

    def _configured(self) -> dict[str, Any]:
        console = {
            "client_id": CLIENT,
            "client_secret": SECRET,
            "grant_types": ["authorization_code"],
            "redirect_uris": [f"{self.home}/console/login/callback"],
            "post_logout_redirect_uris": [f"{self.home}/console/login"],
            "backchannel_logout_uri": f"{self.home}/console/login/gone",
        }
        program = {
            "client_id": PROGRAM,
            "client_secret": SECRET,
            "grant_types": ["client_credentials"],
            "redirect_uris": [],
            "response_types": [],
        }
        return {
            "port": self._port,
            "clients": [console, program],
            "jwks": {"keys": _private(self.keys)},
            "people": PEOPLE,
            "programs": {PROGRAM: ["oms-operators"]},
        }


def _private(keys: Sequence[SigningKey]) -> list[dict[str, Any]]:
    """With what is secret of them, for signing and for verifying."""
    found = []
    for key in keys:
        secret = jwt.algorithms.RSAAlgorithm.to_jwk(key.private, as_dict=True)
        del secret["key_ops"]
        found.append({**secret, "kid": key.key_id, "alg": "RS256", "use": "sig"})
    return found


def _installed() -> tuple[Node, Path]:
    """A Node.js, and the folder that has the provider."""
    node = find_node()
    return node, node.installed(FOLDER)


@asynccontextmanager
async def a_certified_provider(folder: Path, home: str) -> AsyncIterator[CertifiedProvider]:
    """One that is up, while the block runs."""
    provider = CertifiedProvider(folder, home)
    try:
        await provider.start()
        yield provider
    finally:
        await provider.stop()
