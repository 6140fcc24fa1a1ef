"""Extensions as people have them: the wheel, and beside it a package from its own folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from tests.support.servers import PROJECT
from tests.support.wheels import Environment, build_wheel, new_environment

THROUGH = Path(__file__).with_name("a_saga_through.py")
ENROLMENT = PROJECT / "examples/enrolment"
STRIPE = PROJECT / "examples/oms_stripe"
GIFT_ORDER = PROJECT / "examples/gift_order"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = new_environment(tmp_path_factory.mktemp("environment"))
    made.install(build_wheel(tmp_path_factory.mktemp("wheel")))
    return made


@pytest.fixture(scope="module")
def enrolling(environment: Environment) -> Environment:
    environment.install(ENROLMENT)
    return environment


@pytest.fixture(scope="module")
def paying(enrolling: Environment) -> Environment:
    enrolling.install(STRIPE)
    enrolling.install(GIFT_ORDER)
    return enrolling


def through(environment: Environment, url: str, within: Path, definition: str, **document: object) -> str:
    """With which label one saga of this input ends."""
    more = {"OMS_DATABASE_URL": url}
    text = json.dumps(document)
    done = environment.run("python", str(THROUGH), definition, text, within=within, more=more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("example", [ENROLMENT, STRIPE, GIFT_ORDER], ids=lambda path: path.name)
def test_the_examples_own_tests_pass_where_it_is_installed(
    paying: Environment, tmp_path: Path, example: Path
) -> None:
    command = (
        "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(example / "pyproject.toml"),
    )
    done = paying.run(*command, str(example / "tests"), within=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", ["enrolment", "oms_stripe", "gift_order"])
def test_the_example_is_typed_and_so_is_the_kit(paying: Environment, tmp_path: Path, package: str) -> None:
    python = ("--python-executable", str(paying.folder / "bin/python"))
    read_before = ("--cache-dir", str(paying.folder / "mypy"))  # of what all examples import
    command = (str(Path(sys.executable).with_name("mypy")), "--strict", *read_before, *python, "-p", package)
    done = paying.run(*command, within=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_installed_is_found_and_can_be_switched_off(enrolling: Environment, tmp_path: Path) -> None:
    for off, state in (({}, "on"), ({"OMS_EXTENSIONS_OFF": "oms-example-enrolment"}, "off")):
        done = enrolling.run("oms", "extensions", "--json", within=tmp_path, more=off)
        listed = json.loads(done.stdout)["extensions"]
        assert [(each["name"], each["state"]) for each in listed if "enrolment" in each["distribution"]] == [
            ("library", state),
            ("registrar", state),
            ("enrolment", state),
        ]


def test_migrate_makes_the_schemas_of_installed_participants_and_the_authors_tables(
    enrolling: Environment, database_url: str, tmp_path: Path
) -> None:
    more = {"OMS_DATABASE_URL": database_url}
    done = enrolling.run("oms", "migrate", "--json", within=tmp_path, more=more)
    assert done.returncode == 0, done.stderr
    applied = json.loads(done.stdout)
    assert (applied["registrar"], applied["library"]) == (["kit_0001", "courses_0001"], ["kit_0001"])
    again = json.loads(enrolling.run("oms", "migrate", "--json", within=tmp_path, more=more).stdout)
    assert (again["registrar"], again["library"]) == ([], [])


def test_a_saga_that_is_no_order_goes_its_course(
    enrolling: Environment, database_url: str, tmp_path: Path
) -> None:
    """A course that does not exist: the group turns round, and the card is revoked."""
    courses = ["algebra", "zoology"]
    assert (
        through(enrolling, database_url, tmp_path, "enrolment", student="s-1", courses=courses) == "rejected"
    )


def test_what_an_installed_participant_holds_for_nobody_is_listed(
    enrolling: Environment, database_url: str, tmp_path: Path
) -> None:
    more = {"OMS_DATABASE_URL": database_url}
    assert enrolling.run("oms", "migrate", within=tmp_path, more=more).returncode == 0
    assert enrolling.run("oms", "orphans", "list", within=tmp_path, more=more).returncode == 0
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        for participant, command in (("registrar", "TakeSeats"), ("library", "ActivateCard")):
            held = (
                f"INSERT INTO {participant}.ledger (saga_id, step, order_id, command, state, forward_type,"
                " forward_event_id, forward_body, details, updated_at) VALUES (gen_random_uuid(), 'it',"
                f" gen_random_uuid(), '{command}', 'done', 'Done', gen_random_uuid(), '{{}}', '{{}}', now())"
            )
            connection.execute(text(held))

    listed = enrolling.run("oms", "orphans", "list", "--json", within=tmp_path, more=more)

    assert listed.returncode == 1, listed.stderr
    found = json.loads(listed.stdout)["orphans"]
    assert {(each["held"][0]["participant"], each["remedy"]) for each in found} == {
        ("registrar", "take_back"),
        ("library", "by_hand"),
    }


def test_worlds_of_an_installed_saga_are_simulated(enrolling: Environment, tmp_path: Path) -> None:
    done = enrolling.run("oms", "simulate", "--saga", "enrolment", "--seeds", "5", within=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no rule was broken" in done.stdout


def test_what_oms_new_saga_writes_is_installed_tested_and_run(
    environment: Environment, database_url: str, tmp_path: Path
) -> None:
    made = environment.run("oms", "new", "saga", "table_booking", within=tmp_path)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "table_booking"
    environment.install(folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tested = environment.run(
        "python",
        "-m",
        "pytest",
        "-q",
        "-c",
        str(folder / "pyproject.toml"),
        str(folder / "tests"),
        within=elsewhere,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert through(environment, database_url, elsewhere, "table_booking", what="it") == "completed"
    assert through(environment, database_url, elsewhere, "table_booking", what="it") == "rejected"
    environment.uninstall("oms-table-booking")


def test_a_participant_runs_as_a_process_of_its_own_or_says_what_there_is(
    enrolling: Environment, tmp_path: Path
) -> None:
    done = enrolling.run("oms", "participant", "registrar", within=tmp_path)
    assert done.returncode == 1
    assert "OMS_BROKER_URL must be set" in done.stderr
    done = enrolling.run("oms", "participant", "nobody", within=tmp_path)
    assert done.returncode == 2
    assert "one of inventory, payment, shipping, library, registrar" in done.stderr
