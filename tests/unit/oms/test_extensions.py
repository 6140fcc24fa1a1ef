"""Installed distributions that extend the program: found, switched off, and named when they are at fault."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oms import extensions, installed_participants
from oms.cli.app import main
from oms.definitions import registry
from oms.extensions import CARRIERS, GATEWAYS, KIT_PARTICIPANTS, SAGAS
from oms.failures import Failure
from oms.settings import InvalidSettings, Settings, load_settings
from oms.variables import doubts
from oms.wiring import parts_of, services_of, within_this_process
from tests.architecture.sources import PROJECT

Install = Callable[..., None]
"""A distribution's name, its modules by name, its entry points by group."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs distributions for the time of the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(name: str, points: dict[str, dict[str, str]], **modules: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [
            f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in each.items())
            for group, each in points.items()
        ]
        (folder / "entry_points.txt").write_text("\n".join(lines))
        for module, source in modules.items():
            (tmp_path / f"{module}.py").write_text(source)
        _forget()

    yield install
    for module in set(sys.modules) - before:
        del sys.modules[module]
    _forget()


def _forget() -> None:
    extensions.everything_installed.cache_clear()
    installed_participants.participant_named.cache_clear()


SAGA = """
from dataclasses import replace
from oms.definitions import order_fulfillment
def second(policy):
    return replace(order_fulfillment(policy), version=2)
def third(policy):
    return replace(order_fulfillment(policy), version=3)
"""
CELLAR = """
from oms.kit import Command, OutcomeEvent, Participant, Work
class Store(Command):
    participant = "cellar"
class Stored(OutcomeEvent):
    key = "cellar.stored"
cellar = Participant("cellar")
@cellar.step(Store)
class Storing:
    async def do(self, work: Work, command: Store) -> Stored:
        return work.answer(Stored)
idle = Participant("idle")
"""


POST = """
from oms.kit import Command, Errand, OutcomeEvent, Participant
closed = []
class Client:
    def __init__(self, limits):
        self.limits = limits
    async def close(self):
        closed.append(self.limits)
class Send(Command):
    participant = "post"
class Sent(OutcomeEvent):
    key = "post.sent"
def broken(limits):
    raise KeyError("OMS_POST_URL")
post = Participant("post", provider=Client)
@post.provider_step(Send)
class Sending:
    def __init__(self, client):
        self.client = client
    async def call(self, errand: Errand, command: Send): ...
    async def find(self, errand: Errand): ...
    async def recall(self, errand: Errand): ...
    def success(self, errand: Errand, took) -> Sent: ...
"""


FURTHER = tuple(range(100, 800, 100))


def test_several_versions_of_a_saga_stand_side_by_side(install: Install) -> None:
    install("wine", {SAGAS: {"two": "wine_saga:second", "three": "wine_saga:third"}}, wine_saga=SAGA)
    known = registry(Settings()).known
    assert [version for name, version in known if name == "order_fulfillment"] == [1, 2, 3, *FURTHER]


def test_what_is_switched_off_by_its_distributions_name_is_not_there(install: Install) -> None:
    points = {SAGAS: {"two": "wine_saga:second"}, KIT_PARTICIPANTS: {"cellar": "wine_cellar:cellar"}}
    install("Wine-Cellar", points, wine_saga=SAGA, wine_cellar=CELLAR)
    assert "cellar" in services_of(load_settings())
    off = load_settings(extensions_off="wine.cellar")
    assert registry(off).known == registry(Settings(extensions_off="wine_cellar")).known
    assert [version for _, version in registry(off).known] == [1, *FURTHER, 1]
    assert "cellar" not in services_of(off)


def test_nothing_of_what_is_switched_off_is_imported(install: Install) -> None:
    install("bad", {SAGAS: {"two": "bad_saga:it"}}, bad_saga="raise SystemExit(3)")
    registry(load_settings(extensions_off="bad"))
    assert "bad_saga" not in sys.modules


def test_a_name_that_switches_nothing_off_is_told(install: Install) -> None:
    install("wine", {SAGAS: {"two": "wine_saga:second"}}, wine_saga=SAGA)
    with pytest.raises(
        Failure, match=r"OMS_EXTENSIONS_OFF: 'vine' extends nothing here; installed are: .*wine"
    ):
        load_settings(extensions_off="vine")
    with pytest.raises(InvalidSettings, match="OMS_EXTENSIONS_OFF: allowed are names of distributions"):
        load_settings(extensions_off="a b")


@pytest.mark.parametrize(
    ("module", "target", "reason"),
    [
        ("import nothing_of_that_name", "it", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit(3)", "it", "SystemExit: 3"),
        ("it = 1 / 0", "it", "ZeroDivisionError: division by zero"),
        ("", "it", "AttributeError"),
        ("it = 5", "it", "cannot be called with a StepPolicy"),
        ("def it(policy): return 5", "it", "it returns int, not a SagaDefinition"),
        (SAGA.replace("version=2", "version=0"), "second", "its version must be a whole number"),
        (SAGA.replace("version=2", "version=1"), "second", "version 1 is there already"),
    ],
)
def test_a_saga_that_cannot_be_used_names_its_distribution_and_the_reason(
    install: Install, module: str, target: str, reason: str
) -> None:
    install("wine", {SAGAS: {"two": f"wine_saga:{target}"}}, wine_saga=module)
    with pytest.raises(Failure) as told:
        registry(Settings())
    line = str(told.value)
    assert line.startswith("wine 1.2 (oms.sagas: two = wine_saga:")
    assert reason in line
    assert line.endswith("OMS_EXTENSIONS_OFF=wine switches it off")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("cellar", "idle", "must be called as its participant is, idle"),
        ("idle", "idle", "declares no step"),
        ("cellar", "Store", "is ModelMetaclass, not a Participant"),
        ("cellar", "nobody", "AttributeError"),
    ],
)
def test_a_participant_that_cannot_be_used_names_its_distribution(
    install: Install, name: str, target: str, reason: str
) -> None:
    install("wine", {KIT_PARTICIPANTS: {name: f"wine_cellar:{target}"}}, wine_cellar=CELLAR)
    with pytest.raises(
        Failure, match=r"^wine 1\.2 \(oms\.participants: .*OMS_EXTENSIONS_OFF=wine switches"
    ) as told:
        installed_participants.participant_named(name)
    assert reason in str(told.value)


def test_who_has_provider_steps_must_say_who_makes_the_client(install: Install) -> None:
    source = POST.replace(", provider=Client", "")
    install("mail", {KIT_PARTICIPANTS: {"post": "mail_post:post"}}, mail_post=source)
    with pytest.raises(
        Failure, match=r"^mail 1\.2 .* must say who makes the client: provider=\.\.\.; OMS_EXT"
    ):
        installed_participants.participant_named("post")


async def test_the_client_of_a_provider_is_made_with_its_limits_and_closed_at_the_end(
    install: Install,
) -> None:
    install("mail", {KIT_PARTICIPANTS: {"post": "mail_post:post"}}, mail_post=POST)
    post = installed_participants.participant_named("post")
    settings = load_settings(provider_timeout_s=3, provider_concurrency=7)
    async with parts_of(settings, within_this_process()) as parts:
        client = parts.provider_of(post)
        assert (client.limits.timeout_s, client.limits.concurrency) == (3, 7)
    assert sys.modules["mail_post"].closed == [client.limits]


async def test_a_client_that_cannot_be_made_names_its_participant(install: Install) -> None:
    source = POST.replace("provider=Client", "provider=broken")
    install("mail", {KIT_PARTICIPANTS: {"post": "mail_post:post"}}, mail_post=source)
    post = installed_participants.participant_named("post")
    async with parts_of(load_settings(), within_this_process()) as parts:
        with pytest.raises(Failure, match=r"participant post: the client .* made: KeyError: 'OMS_POST_URL'"):
            parts.provider_of(post)


def test_a_participant_cannot_take_the_name_of_one_of_ours(install: Install) -> None:
    install("wine", {KIT_PARTICIPANTS: {"payment": "wine_cellar:cellar"}}, wine_cellar=CELLAR)
    with pytest.raises(Failure, match=r"wine 1\.2 .*has a name that is taken"):
        services_of(Settings())


def test_two_distributions_with_a_participant_of_one_name_are_both_named(install: Install) -> None:
    for name in ("beer", "wine"):
        install(name, {KIT_PARTICIPANTS: {"cellar": "wine_cellar:cellar"}}, wine_cellar=CELLAR)
    with pytest.raises(
        Failure, match="'cellar' is given by two distributions, beer and wine: switch one off"
    ):
        services_of(load_settings())
    assert services_of(load_settings(extensions_off="beer"))[-1] == "cellar"


def test_a_participant_may_have_a_database_of_its_own(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("wine", {KIT_PARTICIPANTS: {"cellar": "wine_cellar:cellar"}}, wine_cellar=CELLAR)
    (tmp_path / "secret").write_text("postgresql://db.internal/in_a_file\n")
    monkeypatch.setenv("OMS_CELLAR_DATABASE_URL", "postgresql://db.internal/own")
    own = load_settings(database_url="postgresql://db.internal/all")
    assert str(own.database_url_of("cellar")).endswith("/own")
    assert str(own.model_copy().database_url_of("cellar")).endswith("/own")
    monkeypatch.delenv("OMS_CELLAR_DATABASE_URL")
    assert str(load_settings(database_url="postgresql://h/all").database_url_of("cellar")).endswith("/all")
    monkeypatch.setenv("OMS_CELLAR_DATABASE_URL_FILE", str(tmp_path / "secret"))
    assert str(load_settings().database_url_of("cellar")).endswith("/in_a_file")
    monkeypatch.setenv("OMS_CELLAR_DATABASE_URL_FILE", "")
    monkeypatch.setenv("OMS_CELLAR_DATABASE_URL", "s3cret")
    with pytest.raises(InvalidSettings, match="OMS_CELLAR_DATABASE_URL: allowed is a URL") as told:
        load_settings()
    assert "s3cret" not in str(told.value)


def test_variables_of_an_installed_extension_are_not_doubted(install: Install) -> None:
    install("wine", {KIT_PARTICIPANTS: {"cellar": "wine_cellar:cellar"}, GATEWAYS: {"red-pay": "x:y"}})
    given = {"OMS_CELLAR_DATABASE_URL": "x", "OMS_CELLAR_DATABASE_URL_FILE": "x", "OMS_RED_PAY_API_KEY": "x"}
    assert list(doubts(given)) == []
    assert len(list(doubts({"OMS_CELAR_DATABASE_URL": "x"}))) == 1


PROVIDERS = """
class Gateway:
    def __init__(self, limits):
        self.limits = limits
        self.closed = False
    async def close(self):
        self.closed = True
def broken(limits):
    raise KeyError("OMS_RED_PAY_API_KEY")
"""


async def test_a_gateway_and_a_carrier_are_chosen_by_their_names(install: Install) -> None:
    points = {GATEWAYS: {"red-pay": "red:Gateway", "broken": "red:broken"}, CARRIERS: {"van": "red:Gateway"}}
    install("red", points, red=PROVIDERS)
    settings = load_settings(payment_gateway="red-pay", carrier="van", provider_timeout_s=3)
    async with parts_of(settings, within_this_process()) as parts:
        gateway, carrier = parts.payment_gateway(), parts.carrier()
        assert {type(gateway).__name__, type(carrier).__name__} == {"Gateway"}
        assert gateway.limits.timeout_s == 3  # type: ignore[attr-defined]
    assert gateway.closed  # type: ignore[attr-defined]
    async with parts_of(load_settings(payment_gateway="blue"), within_this_process()) as parts:
        with pytest.raises(
            Failure, match=r"OMS_PAYMENT_GATEWAY: there is no 'blue' .*installed are: .*red-pay"
        ):
            parts.payment_gateway()
    async with parts_of(load_settings(payment_gateway="broken"), within_this_process()) as parts:
        with pytest.raises(Failure, match=r"^red 1\.2 .*cannot be made: KeyError: 'OMS_RED_PAY_API_KEY'"):
            parts.payment_gateway()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("def charge(self, *asked): ...", "charge is awaited: write async def charge"),
        ("def renew(self, *asked): ...", "renew is awaited: write async def renew"),
        ("def close(self): ...", "close is awaited: write async def close"),
    ],
)
async def test_a_client_that_cannot_be_awaited_stops_the_start(
    install: Install, method: str, said: str
) -> None:
    install(
        "red", {GATEWAYS: {"red-pay": "red:Gateway"}}, red=f"{PROVIDERS}\nclass Gateway(Gateway):\n {method}"
    )
    async with parts_of(load_settings(payment_gateway="red-pay"), within_this_process()) as parts:
        with pytest.raises(Failure, match=rf"^red 1\.2 .*cannot be made: TypeError: {said}"):
            parts.payment_gateway()


async def test_a_gateway_that_does_not_authorize_is_refused_where_money_is_to_be_captured(
    install: Install,
) -> None:
    install("red", {GATEWAYS: {"red-pay": "red:Gateway"}}, red=PROVIDERS)
    settings = load_settings(payment_gateway="red-pay", payment_flow="capture")
    async with parts_of(settings, within_this_process()) as parts:
        with pytest.raises(
            Failure, match="the payment gateway red-pay does not authorize and capture"
        ) as told:
            parts.payment_gateway()
    assert "\n" not in str(told.value)
    assert str(told.value).startswith("OMS_PAYMENT_FLOW=capture: ")


async def test_a_gateway_that_does_not_refund_in_part_is_refused_where_shipments_are_split(
    install: Install,
) -> None:
    whole = PROVIDERS + "\nGateway.traits = ProviderTraits(refunds_in_part=False)\n"
    whole = "from participants.provider_terms import ProviderTraits\n" + whole
    install("red", {GATEWAYS: {"red-pay": "red:Gateway"}}, red=whole)
    async with parts_of(
        load_settings(payment_gateway="red-pay", shipments="split"), within_this_process()
    ) as parts:
        with pytest.raises(Failure, match=r"^OMS_SHIPMENTS=split: .*red-pay does not refund in part"):
            parts.payment_gateway()
    async with parts_of(load_settings(payment_gateway="red-pay"), within_this_process()) as parts:
        assert parts.payment_gateway() is not None


def test_they_are_listed_and_the_list_fails_where_one_cannot_be_used(
    install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["extensions"]) == 0
    assert "nothing is installed that extends oms" in capsys.readouterr().out
    install("wine", {KIT_PARTICIPANTS: {"cellar": "wine_cellar:cellar"}}, wine_cellar=CELLAR)
    assert main(["extensions", "--json"]) == 0
    assert '"state": "on"' in capsys.readouterr().out
    install("bad", {SAGAS: {"two": "bad_saga:it"}}, bad_saga="it = 1 / 0")
    assert main(["extensions", "--json"]) == 1
    assert "division by zero" in capsys.readouterr().out
    monkeypatch.setenv("OMS_EXTENSIONS_OFF", "bad")
    assert main(["extensions", "--json"]) == 0
    assert '"state": "off"' in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["1x", "Class", "class", "payment", "json", "x__y", "x_", "pg_x", "a" * 41, "pytest", "oms", ""]
)
def test_a_name_that_could_not_be_used_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "saga", name, "--to", str(tmp_path / "there")]) == 1
    assert "name" in capsys.readouterr().err
    assert not (tmp_path / "there").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "saga", "lending", "--to", str(tmp_path)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_examples_are_not_installed_in_the_projects_own_environment() -> None:
    """They have environments of their own: here nothing must depend on them."""
    names = {each.distribution for each in extensions.everything_installed()}
    assert not {f"oms-example-{path.name}" for path in (PROJECT / "examples").iterdir()} & names
