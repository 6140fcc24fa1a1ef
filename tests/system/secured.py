"""A private broker and database with a user and a role for each service, reached over TLS alone."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import make_url

from oms.embedded.ports import free_ports
from oms.embedded.postgresql import EmbeddedPostgres
from tests.support.servers import PROJECT
from tools.servers.rabbitmq.broker import find_programs
from tools.servers.rabbitmq.node import RabbitNode

DEPLOY: Final = PROJECT / "deploy"
_SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")
_EXTENSIONS: Final = """\
subjectAltName = IP:127.0.0.1
extendedKeyUsage = serverAuth
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """A server's key and certificate for 127.0.0.1, the authority that signed it, and one that did not."""

    authority: Path
    stranger: Path
    certificate: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    """Make them with `openssl`, good for a day."""
    made = Certificates(
        folder / "authority.pem", folder / "stranger.pem", folder / "server.pem", folder / "server.key"
    )
    for authority in (made.authority, made.stranger):
        subject = ("-subj", f"/CN={authority.stem}", "-days", "1")
        key = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(authority.with_suffix(".key")))
        _openssl("req", "-x509", *key, *subject, "-out", str(authority))
    request, extensions = folder / "server.csr", folder / "server.ext"
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(made.key))
    _openssl("req", *key, "-subj", "/CN=server", "-out", str(request))
    extensions.write_text(_EXTENSIONS)
    signer = ("-CA", str(made.authority), "-CAkey", str(made.authority.with_suffix(".key")))
    given = ("-in", str(request), "-extfile", str(extensions), "-set_serial", "7", "-days", "1")
    _openssl("x509", "-req", *given, *signer, "-out", str(made.certificate))
    for file in folder.iterdir():
        file.chmod(0o644)  # the broker may run as another account; these are good for this test alone
    return made


@dataclass(frozen=True, slots=True)
class Broker:
    """A RabbitMQ with the users of `deploy/`; each has its own name as its password."""

    node: RabbitNode
    tls_port: int
    certificates: Certificates

    def url(self, user: str) -> str:
        """Over TLS, trusting our own authority."""
        return f"amqps://{user}:{user}@127.0.0.1:{self.tls_port}/?cafile={self.certificates.authority}"

    def plain_url(self, user: str) -> str:
        """Without TLS, for the test's own questions."""
        return f"amqp://{user}:{user}@127.0.0.1:{self.node.port}/"


@contextmanager
def secured_broker(folder: Path, made: Certificates) -> Iterator[Broker]:
    """Start it as compose.yaml does: with the users and rights as definitions."""
    programs = find_programs(PROJECT / ".oms/servers")
    definitions = folder / "oms.json"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(DEPLOY / "compose/broker.json", definitions)
    [tls_port] = free_ports(1)
    lines = {"listeners.ssl.1": f"127.0.0.1:{tls_port}"}
    for option, file in (
        ("cacertfile", made.authority),
        ("certfile", made.certificate),
        ("keyfile", made.key),
    ):
        shutil.copy(file, folder)
        lines[f"ssl_options.{option}"] = str(programs.inside(folder / file.name))
    given = (DEPLOY / "compose/rabbitmq.conf").read_text()
    inside = str(programs.inside(definitions))
    config = given.replace("/etc/rabbitmq/oms.json", inside) + "".join(
        f"{name} = {value}\n" for name, value in lines.items()
    )
    with RabbitNode(programs, folder, config=config) as node:
        yield Broker(node, tls_port, made)


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL with the roles of `deploy/`; each has its own name as its password."""

    server: EmbeddedPostgres
    tls_port: int
    certificates: Certificates

    def url(self, role: str) -> str:
        """Over TLS, the certificate verified in full."""
        query = f"sslmode=verify-full&sslrootcert={self.certificates.authority}"
        return f"postgresql://{role}:{role}@127.0.0.1:{self.tls_port}/oms?{query}"

    def plain_url(self, role: str) -> str:
        """Without TLS, for the test's own questions."""
        url = make_url(self.server.url).set(drivername="postgresql", username=role, password=role)
        return url.render_as_string(hide_password=False)

    def give_rights(self) -> None:
        """Run `roles.sql`, as its owner does before and after migrations."""
        owner = make_url(self.server.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(owner, autocommit=True) as connection:
            for script in ("postgresql/roles.sql", "compose/database-passwords.sql"):
                connection.execute((DEPLOY / script).read_bytes())


@asynccontextmanager
async def secured_database(folder: Path, made: Certificates) -> AsyncIterator[Database]:
    """Start it, with TLS before it: the embedded server has been built without."""
    with EmbeddedPostgres(folder) as server:
        async with tls_before(int(make_url(server.url).port or 0), made) as tls_port:
            database = Database(server, tls_port, made)
            database.give_rights()
            yield database


@asynccontextmanager
async def tls_before(port: int, made: Certificates) -> AsyncIterator[int]:
    """A port of ours that speaks TLS as PostgreSQL does, and passes what it hears on to another port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(8) == _SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
                with closing(to_server):
                    await asyncio.gather(_pass_on(reader, to_server), _pass_on(from_server, writer))

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def _openssl(*arguments: str) -> None:
    subprocess.run(("openssl", *arguments), check=True, capture_output=True)
