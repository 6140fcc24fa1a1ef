"""Webhooks on real PostgreSQL and real receivers: each event at least once, in order, under one id (S30)."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from messaging.connecting import connect
from messaging.identifiers import time_ordered_ids
from messaging.in_process import InProcessBroker, InProcessTransport
from messaging.outbox import Outbox
from messaging.retries import RetryPolicy
from oms.definitions import registry
from oms.embedded.ports import free_ports
from oms.settings import load_settings
from orchestrator.core.inputs import Actor
from orchestrator.core.registry import Registry
from orchestrator.operations import NotAllowed, NotFound, StaleVersion
from orchestrator.queries import Queries
from orchestrator.queries.feed import CursorGone, FeedFilter, FeedQueries, Start
from orchestrator.queries.feed_events import PublicEvent
from orchestrator.queries.feed_position import BEGINNING, position_of
from orchestrator.service import Deployment
from orchestrator.webhooks.addresses import Reach, UnusableUrl
from orchestrator.webhooks.delivery import Courier
from orchestrator.webhooks.operations import WebhookOperations, Wish
from orchestrator.webhooks.sender import PING, WebhookSender, told_here
from orchestrator.webhooks.webhook import MOST_WEBHOOKS, Pause, State, Webhook
from tests.integration.a_long_past import add_a_past, saga_ids
from tests.integration.feed_writers import Writer
from tests.support.receivers import Receiver, a_receiver
from tests.support.servers import PROJECT
from tests.system.secured import certificates

pytestmark = pytest.mark.postgresql

ADA: Final = Actor("ada", "the shop wants to know")
SAGAS: Final = 4
THERE: Final = 3
"""Entries that each saga has in the beginning, with no event in them."""
A_DAY: Final = timedelta(days=1)
WITHIN_S: Final = 60


class Hooks:
    """Webhooks over one database: what people do, and senders that work when they are told to."""

    def __init__(self, url: str, known: Registry, exits: AsyncExitStack) -> None:
        self.url = url
        self.known = known
        rng = random.Random(5)
        engine = create_async_engine(url, async_creator=lambda: connect(url), pool_size=10)
        exits.push_async_callback(engine.dispose)
        transport = InProcessTransport(InProcessBroker())
        exits.push_async_callback(transport.close)
        self.new_id = time_ordered_ids(rng)
        self.deployment = Deployment(known, engine, transport, self.new_id, rng, RetryPolicy(), 86400)
        self.queries = Queries(engine, known, 30)
        self.work = self.deployment.webhook_unit_of_work(Outbox(transport.publisher()), None)
        self.operations = WebhookOperations(self.work, self.new_id, secrets.token_bytes, Reach.ANYWHERE)
        self.sagas = saga_ids(url, range(1, SAGAS + 1))
        self._exits = exits
        self._versions = dict.fromkeys(self.sagas, THERE)

    def sender(
        self,
        timeout_s: float = WITHIN_S,
        reach: Reach = Reach.ANYWHERE,
        kind: type[WebhookSender] = WebhookSender,
    ) -> WebhookSender:
        reader, sagas = self.queries.reader, self.queries.sagas
        feed = FeedQueries(reader, sagas, self.known, told_here(self.known))
        courier = Courier(reach, timeout_s)
        made = kind(self.work, feed, courier, self.new_id, random.Random(6), A_DAY)
        self._exits.push_async_callback(made.stop)
        return made

    async def receiver(self, tls: ssl.SSLContext | None = None) -> Receiver:
        return await self._exits.enter_async_context(a_receiver(tls))

    async def add(self, url: str, *types: str, start: Start | None = None) -> Webhook:
        begin = start or await self.queries.feed.end()
        cursor = None if begin.position == BEGINNING else begin.position.cursor
        return await self.operations.add(Wish(url, types, cursor, begin.pruned_sagas), ADA)

    async def happen(self, count: int = 1) -> None:
        """So many payments, each of another transaction; all can be read then.

        Transactions of other tests, in other databases of the same server, hold up the feed for a moment.
        """
        for number in range(count):
            saga_id = self.sagas[number % SAGAS]
            self._versions[saga_id] += 1
            async with Writer(self.url) as writer:
                await writer.write((saga_id, self._versions[saga_id]))
                await writer.commit()
        async with asyncio.timeout(WITHIN_S):
            while (await self.queries.reader.row(text(_UNREADABLE))) is not None:
                await asyncio.sleep(0.01)

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.deployment.database.begin() as connection:
            await connection.execute(text(statement), values)

    async def now(self, webhook: Webhook) -> Webhook:
        found = await self.work.run(lambda transaction: transaction.read(webhook.webhook_id))
        assert found is not None
        return found

    async def at_once(self) -> None:
        """Nobody waits for the next try, or for a lease of somebody who is gone."""
        await self.execute("UPDATE orchestrator.webhooks SET next_at = created_at, leased_until = created_at")

    async def told(self) -> list[str]:
        """The ids of all events, in the order of the feed."""
        found = list[str]()
        page = await self.queries.feed.page(BEGINNING, _ALL)
        found += [str(event.event_id) for event in page.items]
        return found

    async def sent(self, sender: WebhookSender, receiver: Receiver, count: int) -> list[str]:
        """Send until a receiver has got so many requests; their ids. Other databases may hold up the feed."""
        async with asyncio.timeout(WITHIN_S):
            while len(receiver.got) < count:
                await sender.run_once()
                await sender.settled()
                await asyncio.sleep(0.01)
        return receiver.ids

    async def until(self, sender: WebhookSender, webhook: Webhook, **wanted: Any) -> Webhook:
        """Send until a webhook is like this."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                await sender.run_once()
                await sender.settled()
                found = await self.now(webhook)
                if all(getattr(found, name) == value for name, value in wanted.items()):
                    return found
                await asyncio.sleep(0.01)


_ALL: Final = FeedFilter()
_UNREADABLE: Final = (
    "SELECT 1 FROM orchestrator.history"
    " WHERE transaction_id >= pg_snapshot_xmin(pg_current_snapshot()) LIMIT 1"
)


@pytest.fixture
async def hooks(migrated_database_url: str) -> AsyncIterator[Hooks]:
    add_a_past(migrated_database_url, sagas=SAGAS, letters=1)
    async with AsyncExitStack() as exits:
        yield Hooks(migrated_database_url, registry(load_settings()), exits)


async def test_events_come_signed_in_the_order_of_the_feed_and_only_those_that_are_wanted(
    hooks: Hooks,
) -> None:
    every, none = await hooks.receiver(), await hooks.receiver()
    await hooks.happen(2)
    webhook = await hooks.add(every.url)
    other = await hooks.add(none.url, "OrderCompletedEvent")
    before = await hooks.told()
    await hooks.happen(7)
    sender = hooks.sender()
    ids = await hooks.sent(sender, every, 7)
    assert before + ids == await hooks.told()
    for received in every.got:
        event = Verifier(webhook.secret).verify(received.body.decode(), dict(received.headers))
        assert event == received.event
        assert event["event_id"] == received.webhook_id
        with pytest.raises(WebhookVerificationError):
            Verifier(other.secret).verify(received.body.decode(), dict(received.headers))
    page = await hooks.queries.feed.page(BEGINNING, _ALL, pruned_sagas=0)
    assert [each.event for each in every.got] == [each.model_dump(mode="json") for each in page.items[2:]]
    latest = (await hooks.queries.feed.latest()).cursor
    done = await hooks.until(sender, webhook, cursor=latest, delivered=7)
    assert (done.failures, done.version) == (0, 1)
    await hooks.until(sender, other, cursor=latest, delivered=0)
    assert none.got == []


async def test_what_was_not_taken_is_sent_again_under_its_id_and_nothing_passes_it(hooks: Hooks) -> None:
    receiver, sender = await hooks.receiver(), hooks.sender()
    webhook = await hooks.add(receiver.url)
    receiver.answers = [200, 500, 302, 204, 404]
    receiver.headers = {"Location": receiver.url}
    await hooks.happen(3)
    await hooks.sent(sender, receiver, 2)
    failing = await hooks.now(webhook)
    assert (failing.failures, failing.delivered) == (1, 1)
    assert failing.failing_since is not None
    assert failing.next_at > failing.failing_since
    await hooks.execute("UPDATE orchestrator.webhooks SET next_at = next_at + interval '1 hour'")
    await sender.run_once()
    await sender.settled()
    assert len(receiver.got) == 2
    for count in (3, 5, 6):
        await hooks.at_once()
        await hooks.sent(sender, receiver, count)
    first, second, third = await hooks.told()
    assert receiver.ids == [first, second, second, second, third, third]
    done = await hooks.until(sender, webhook, failures=0)
    said = [each["failure"] for each in done.attempts]
    not_followed = "it answers 302: redirects are not followed"
    assert said == [None, "it answers 500", not_followed, None, "it answers 404", None]


async def test_a_receiver_that_says_when_to_come_again_is_left_alone_until_then(hooks: Hooks) -> None:
    receiver, sender = await hooks.receiver(), hooks.sender()
    webhook = await hooks.add(receiver.url)
    receiver.answers, receiver.headers = [429], {"Retry-After": "1800"}
    await hooks.happen()
    await hooks.sent(sender, receiver, 1)
    waits = await hooks.until(sender, webhook, failures=1)
    assert waits.failing_since is not None
    assert waits.next_at - waits.failing_since == timedelta(seconds=1800)


class MovesBeforeItSends(WebhookSender):
    """What S30 forbids."""

    async def _deliver(
        self, webhook: Webhook, lease: UUID, event: PublicEvent, cursor: str
    ) -> Webhook | None:
        moved = await self._move(webhook, lease, cursor)
        assert moved is not None
        return await super()._deliver(moved, lease, event, cursor)


@pytest.mark.parametrize(("kind", "missed"), [(WebhookSender, 0), (MovesBeforeItSends, 1)])
async def test_a_position_that_does_not_wait_for_the_answer_is_noticed(
    hooks: Hooks, kind: type[WebhookSender], missed: int
) -> None:
    receiver, sender = await hooks.receiver(), hooks.sender(kind=kind)
    webhook = await hooks.add(receiver.url)
    receiver.answers = [500]
    await hooks.happen(3)
    await hooks.sent(sender, receiver, 1)
    await hooks.at_once()
    await hooks.until(sender, webhook, cursor=(await hooks.queries.feed.latest()).cursor)
    acknowledged = set(receiver.ids[1:])
    assert len(set(await hooks.told()) - acknowledged) == missed


async def test_what_was_taken_but_not_noted_is_sent_again_under_its_id(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, dies, goes_on = await hooks.receiver(), hooks.sender(), hooks.sender()
    webhook = await hooks.add(receiver.url)

    async def die(*_: object) -> None:
        raise KeyError("killed between the answer and the note")

    monkeypatch.setattr(dies, "_noted", die)
    await hooks.happen(2)
    await hooks.sent(dies, receiver, 1)
    assert (await hooks.now(webhook)).delivered == 0
    await hooks.execute("UPDATE orchestrator.webhooks SET leased_until = now() + interval '1 hour'")
    await goes_on.run_once()
    await goes_on.settled()
    assert len(receiver.got) == 1  # until the lease of the other has run out
    await hooks.at_once()
    first, second = await hooks.told()
    assert await hooks.sent(goes_on, receiver, 3) == [first, first, second]


async def test_two_replicas_leave_no_gap_and_whoever_has_lost_the_lease_moves_nothing(hooks: Hooks) -> None:
    receiver, one, two = await hooks.receiver(), hooks.sender(), hooks.sender()
    webhook = await hooks.add(receiver.url)
    receiver.is_open.clear()
    await hooks.happen(30)
    async with asyncio.timeout(WITHIN_S):
        while not receiver.asked.is_set():
            await one.run_once()
            await asyncio.sleep(0.01)
    await hooks.at_once()  # as if the first were stalled for longer than its lease
    async with asyncio.timeout(WITHIN_S):
        while len(receiver.got) < 2:
            await two.run_once()
            await asyncio.sleep(0.01)
    receiver.is_open.set()
    await one.settled()
    told = await hooks.told()
    await asyncio.gather(hooks.sent(one, receiver, 31), hooks.sent(two, receiver, 31))
    done = await hooks.until(two, webhook, delivered=30)
    assert done.failures == 0
    assert receiver.ids[:2] == told[:1] * 2
    assert list(dict.fromkeys(receiver.ids)) == told


async def test_a_receiver_that_never_answers_makes_nobody_else_wait(hooks: Hooks) -> None:
    silent, quick, sender = await hooks.receiver(), await hooks.receiver(), hooks.sender()
    silent.is_open.clear()
    waits = await hooks.add(silent.url)
    await hooks.add(quick.url)
    await hooks.happen(3)
    async with asyncio.timeout(WITHIN_S):
        while len(quick.got) < 3:
            await sender.run_once()
            await asyncio.sleep(0.01)
    assert len(silent.got) == 1
    assert (await hooks.now(waits)).delivered == 0
    impatient = hooks.sender(timeout_s=0.05)
    await hooks.at_once()
    failed = await hooks.until(impatient, waits, failures=1)
    assert failed.attempts[-1]["failure"] == "no answer within 0.05 s"


async def test_a_receiver_that_fails_for_a_day_or_is_gone_is_paused_and_goes_on_where_it_stood(
    hooks: Hooks,
) -> None:
    failing, gone, sender = await hooks.receiver(), await hooks.receiver(), hooks.sender()
    failing.status, gone.status = 503, 410
    patient, ended = await hooks.add(failing.url), await hooks.add(gone.url)
    await hooks.happen(2)
    await hooks.until(sender, patient, failures=1, state=State.ACTIVE)
    await hooks.execute("UPDATE orchestrator.webhooks SET failing_since = failing_since - interval '1 day'")
    await hooks.at_once()
    given_up = await hooks.until(sender, patient, state=State.PAUSED)
    assert (given_up.pause, given_up.failures, given_up.delivered) == (Pause.FAILING, 2, 0)
    assert (await hooks.until(sender, ended, state=State.PAUSED)).pause == Pause.GONE
    seen = len(failing.got), len(gone.got)
    await hooks.at_once()
    await sender.run_once()
    await sender.settled()
    assert (len(failing.got), len(gone.got)) == seen
    failing.status = gone.status = 200
    for webhook in (given_up, await hooks.now(ended)):
        await hooks.operations.resume(webhook.webhook_id, ADA, webhook.version)
    told = await hooks.told()
    assert (await hooks.sent(sender, failing, seen[0] + 2))[seen[0] :] == told
    assert (await hooks.sent(sender, gone, seen[1] + 2))[seen[1] :] == told


async def test_both_secrets_sign_while_one_replaces_the_other(hooks: Hooks) -> None:
    receiver, sender = await hooks.receiver(), hooks.sender()
    old = await hooks.add(receiver.url)
    new = await hooks.operations.rotate(old.webhook_id, ADA, old.version, A_DAY)
    await hooks.happen()
    await hooks.sent(sender, receiver, 1)
    await hooks.execute("UPDATE orchestrator.webhooks SET old_until = now() - interval '1 minute'")
    await hooks.happen()
    await hooks.sent(sender, receiver, 2)
    during, after = receiver.got
    for webhook in (old, new):
        Verifier(webhook.secret).verify(during.body.decode(), dict(during.headers))
    Verifier(new.secret).verify(after.body.decode(), dict(after.headers))
    with pytest.raises(WebhookVerificationError):
        Verifier(old.secret).verify(after.body.decode(), dict(after.headers))


async def test_a_webhook_is_set_back_to_a_time_or_to_the_beginning(hooks: Hooks) -> None:
    receiver, sender = await hooks.receiver(), hooks.sender()
    await hooks.happen(4)
    webhook = await hooks.add(receiver.url)
    page = await hooks.queries.feed.page(BEGINNING, _ALL)
    told = [str(event.event_id) for event in page.items]
    await hooks.execute(
        "UPDATE orchestrator.history SET at = now() - interval '2 days'"
        " WHERE transaction_id <= CAST(:second AS xid8)",
        second=str(position_of(page.items[1].cursor).transaction),
    )
    for since, expected in ((datetime.now(UTC) - A_DAY, told[2:]), (None, told)):
        start = await hooks.queries.feed.start(since)
        cursor = None if start.position == BEGINNING else start.position.cursor
        stands = await hooks.now(webhook)
        begin = (webhook.webhook_id, ADA, stands.version, cursor, start.pruned_sagas)
        await hooks.operations.replay(*begin)
        receiver.got.clear()
        assert await hooks.sent(sender, receiver, len(expected)) == expected


async def test_whoever_would_miss_what_was_pruned_is_paused_and_nobody_else(hooks: Hooks) -> None:
    """Also one that has begun before all, and is not yet where something was pruned from."""
    receiver, sender = await hooks.receiver(), hooks.sender()
    await hooks.happen(6)
    told = await hooks.told()
    last = await hooks.queries.feed.latest()
    pruned = (
        "INSERT INTO orchestrator.retention (id, mark, advanced_at, pruned_sagas, pruned_transaction_id,"
        " pruned_saga_id, pruned_version) VALUES (1, gen_random_uuid(), now(), 1, CAST(:transaction AS xid8),"
        " :saga_id, :version)"
    )
    at = {"transaction": str(last.transaction), "saga_id": last.saga_id, "version": last.version}
    begun = await hooks.queries.feed.start()
    behind = await hooks.add(f"{receiver.url}/behind", start=begun)
    await hooks.execute(pruned, **at)
    assert (await hooks.until(sender, behind, state=State.PAUSED)).pause == Pause.EVENTS_PRUNED
    assert receiver.got == []
    with pytest.raises(CursorGone):
        await hooks.queries.feed.start(datetime.now(UTC) - A_DAY)
    since_then = await hooks.add(f"{receiver.url}/since", start=await hooks.queries.feed.start())
    receiver.answers = [200, 200, 500]
    await hooks.until(sender, since_then, failures=1)
    await hooks.at_once()
    assert await hooks.sent(sender, receiver, 7) == [*told[:3], *told[2:]]
    receiver.status = 500
    await hooks.happen(1)
    stuck = await hooks.until(sender, since_then, failures=1, delivered=6)
    assert stuck.state == State.ACTIVE
    await hooks.execute(
        "UPDATE orchestrator.retention SET pruned_sagas = 2, pruned_transaction_id = pg_current_xact_id()"
    )
    await hooks.at_once()
    assert (await hooks.until(sender, stuck, state=State.PAUSED)).pause == Pause.EVENTS_PRUNED


async def test_a_position_that_a_restored_database_does_not_know_pauses(hooks: Hooks) -> None:
    receiver, sender = await hooks.receiver(), hooks.sender()
    await hooks.happen(2)
    webhook = await hooks.add(receiver.url)
    await hooks.execute(
        "DELETE FROM orchestrator.history WHERE transaction_id ="
        " (SELECT transaction_id FROM orchestrator.history ORDER BY transaction_id DESC LIMIT 1)"
    )
    assert (await hooks.until(sender, webhook, state=State.PAUSED)).pause == Pause.POSITION_UNKNOWN


async def test_events_of_a_definition_that_is_not_known_here_are_left_to_who_knows_it(hooks: Hooks) -> None:
    receiver, knows = await hooks.receiver(), hooks.sender()
    await hooks.add(receiver.url)
    await hooks.happen(3)
    hooks.known = Registry([])
    knows_not = hooks.sender()
    for _ in range(3):
        await knows_not.run_once()
        await knows_not.settled()
    assert receiver.got == []
    assert await hooks.sent(knows, receiver, 3) == await hooks.told()


async def test_whether_anybody_can_still_know_a_definition_is_told_by_the_databases_clock(
    hooks: Hooks,
) -> None:
    before = await hooks.queries.feed.latest()
    await hooks.happen(3)
    await hooks.execute("CREATE SCHEMA ahead")
    await hooks.execute(
        "CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
        " $$SELECT pg_catalog.clock_timestamp() + interval '2 hours'$$"
    )
    known = Registry([])
    told = list[bool]()
    for path in ("pg_catalog", "ahead,pg_catalog"):
        connected = partial(connect, hooks.url, options=f"-c search_path={path}")
        engine = create_async_engine(hooks.url, async_creator=connected)
        queries = Queries(engine, known, 30)
        feed = FeedQueries(queries.reader, queries.sagas, known, told_here(known))
        told.append((await feed.page(before, _ALL, pruned_sagas=0)).next_cursor != before.cursor)
        await engine.dispose()
    assert told == [False, True]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "rebound.example"])
async def test_nothing_is_sent_to_a_private_address_whatever_its_name(
    hooks: Hooks, host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made = certificates(tmp_path)
    context.load_cert_chain(made.certificate, made.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    receiver, sender = await hooks.receiver(context), hooks.sender(reach=Reach.PUBLIC)
    loop = asyncio.get_running_loop()
    known = loop.getaddrinfo

    async def look_up(name: str, *asked: Any, **more: Any) -> Any:
        return await known("127.0.0.1" if name == "rebound.example" else name, *asked, **more)

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    url = receiver.url.replace("127.0.0.1", host)
    webhook = await hooks.add(url)
    await hooks.happen()
    failed = await hooks.until(sender, webhook, failures=1)
    assert "private" in failed.attempts[-1]["failure"]
    assert receiver.got == []
    strict = WebhookOperations(hooks.work, hooks.new_id, secrets.token_bytes, Reach.PUBLIC)
    if host != "rebound.example":
        with pytest.raises(UnusableUrl):
            await strict.add(Wish(url, (), None, 0), ADA)


async def test_a_receiver_whose_certificate_is_not_trusted_gets_nothing(
    hooks: Hooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    receiver = await hooks.receiver(context)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.stranger))
    webhook = await hooks.add(receiver.url)
    await hooks.happen()
    failed = await hooks.until(hooks.sender(), webhook, failures=1)
    assert "is not trusted" in failed.attempts[-1]["failure"]
    assert receiver.got == []
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    await hooks.at_once()
    assert await hooks.sent(hooks.sender(), receiver, 1) == await hooks.told()


async def test_people_add_pause_try_and_remove_webhooks_and_secrets_stay_where_they_are(
    hooks: Hooks, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver, sender = await hooks.receiver(), hooks.sender()
    receiver.body = b"thank you" * 50_000
    made = await hooks.add(receiver.url)
    with pytest.raises(NotAllowed, match="there is a webhook of this URL"):
        await hooks.add(receiver.url)
    paused = await hooks.operations.pause(made.webhook_id, ADA, 1)
    with pytest.raises(StaleVersion):
        await hooks.operations.resume(made.webhook_id, ADA, 1)
    with pytest.raises(NotAllowed, match="paused already"):
        await hooks.operations.pause(made.webhook_id, ADA, paused.version)
    await hooks.happen()
    tried = await hooks.operations.ping(made.webhook_id, ADA, paused.version)
    await hooks.sent(sender, receiver, 1)
    [ping] = receiver.got
    assert ping.event == {"event_id": str(tried.ping_id), "type": PING}
    Verifier(made.secret).verify(ping.body.decode(), dict(ping.headers))
    now = await hooks.until(sender, made, ping_id=None)
    assert (now.state, now.delivered, len(now.attempts)) == (State.PAUSED, 0, 1)
    rotated = await hooks.operations.rotate(made.webhook_id, ADA, now.version, A_DAY)
    receiver.status = 500
    resumed = await hooks.operations.resume(made.webhook_id, ADA, rotated.version)
    await hooks.until(sender, made, failures=1)
    removed = await hooks.operations.remove(made.webhook_id, ADA, resumed.version)
    assert (removed.secret, removed.old_secret) == ("", None)
    with pytest.raises(NotFound):
        await hooks.operations.resume(made.webhook_id, ADA, removed.version)
    again = await hooks.add(receiver.url)
    entries = "SELECT to_json(a)::text AS entry FROM orchestrator.audit_log a WHERE subject LIKE 'webhook:%'"
    log = [row.entry for row in await hooks.queries.reader.rows(text(entries))]
    actions = ["add", "pause", "test", "rotate", "resume", "remove", "add"]
    assert len(log) == len(actions)
    said = f"{log} {capsys.readouterr()} {again} {made}"
    assert "has not taken an event" in said
    assert all(f"webhook.{action}" in said for action in actions)
    for secret in (made.secret, rotated.secret, again.secret):
        assert secret.removeprefix("whsec_") not in said


async def test_there_are_not_more_webhooks_than_are_sent_at_once(hooks: Hooks) -> None:
    for number in range(MOST_WEBHOOKS):
        await hooks.add(f"http://127.0.0.1:9/{number}")
    with pytest.raises(NotAllowed, match="50 webhooks at most"):
        await hooks.add("http://127.0.0.1:9/more")


async def test_the_receiver_of_the_documentation_verifies_what_it_gets(hooks: Hooks, tmp_path: Path) -> None:
    page = (PROJECT / "docs/webhooks.md").read_text(encoding="utf-8")
    [port] = free_ports(1)
    program = page.partition("```python\n")[2].partition("```")[0].replace("9000", str(port))
    (tmp_path / "receiver.py").write_text(program)
    webhook, sender = await hooks.add(f"http://127.0.0.1:{port}/hooks"), hooks.sender()
    settings = {**os.environ, "WEBHOOK_SECRET": webhook.secret, "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(tmp_path / "receiver.py")),
        env=settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        await hooks.happen()
        async with asyncio.timeout(WITHIN_S):
            while (await hooks.now(webhook)).delivered == 0:  # it may not be up yet
                await hooks.at_once()
                await sender.run_once()
                await sender.settled()
            [told] = await hooks.told()
            line = await process.stdout.readline()
    finally:
        process.kill()
        await process.wait()
    assert line.decode().startswith(f"{told} PaymentSuccessfulEvent ")
