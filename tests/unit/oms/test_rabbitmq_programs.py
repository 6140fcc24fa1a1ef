"""Where a RabbitMQ is looked for, what its programs are told, and what is said when there is none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from oms.embedded.child import ServerError
from tools.servers.rabbitmq import container, packages
from tools.servers.rabbitmq.broker import private_broker
from tools.servers.rabbitmq.container import RabbitContainer
from tools.servers.rabbitmq.installation import Installation, find_installed, in_unpacked_system


def write_program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def install(root: Path, version: str) -> Path:
    """A folder that looks like RabbitMQ's own, with Erlang beside it; returns the folder of the scripts."""
    home = root / f"rabbitmq_server-{version}"
    write_program(home / "sbin" / "rabbitmq-server")
    write_program(home / "sbin" / "rabbitmq-env")
    (home / "plugins" / f"rabbit-{version}").mkdir(parents=True)
    write_program(root / "bin" / "erl")
    return home / "sbin"


def test_an_installed_one_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = install(tmp_path, "3.13.7")
    monkeypatch.setenv("PATH", f"{scripts}:{tmp_path / 'bin'}")
    found = find_installed()
    assert found is not None
    assert found.version() >= (3, 10)


def test_one_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = install(tmp_path, "3.8.9")
    monkeypatch.setenv("PATH", f"{scripts}:{tmp_path / 'bin'}")
    found = find_installed()
    assert found is None or found.scripts != scripts


def test_without_erlang_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(install(tmp_path, "4.0.5")))
    assert find_installed() is None


def test_versions_are_compared_as_numbers(tmp_path: Path) -> None:
    assert Installation(install(tmp_path, "3.10.8")).version() == (3, 10, 8)
    assert Installation(tmp_path).version() == ()


def test_programs_are_not_told_of_other_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_NODENAME", "somebody@else")
    monkeypatch.setenv("ERL_FLAGS", "-name somebody")
    monkeypatch.setenv("PATH", "/usr/bin")
    told = Installation(Path("/s"), (Path("/erlang/bin"),), (Path("/lib"),)).environment()
    assert "RABBITMQ_NODENAME" not in told
    assert "ERL_FLAGS" not in told
    assert told["PATH"].startswith("/erlang/bin:/usr/bin:")
    assert told["LD_LIBRARY_PATH"].startswith("/lib")


def test_in_another_root_paths_and_calls_are_translated() -> None:
    inside = Installation(Path("/usr/lib/rabbitmq/bin"), chroot=Path("/tmp/newer"))
    assert inside.command("rabbitmqctl", "status") == [
        "chroot",
        "/tmp/newer",
        "/usr/lib/rabbitmq/bin/rabbitmqctl",
        "status",
    ]
    assert inside.command("epmd")[-1] == "epmd"
    assert inside.inside(Path("/tmp/newer/var/node")) == Path("/var/node")
    with pytest.raises(ValueError, match="/elsewhere"):
        inside.inside(Path("/elsewhere"))


def test_unpacked_erlang_finds_itself_wherever_it_lies(tmp_path: Path) -> None:
    says_root = "#!/bin/sh\n    ROOTDIR=/usr/lib/erlang\necho $ROOTDIR\n"
    erlang = tmp_path / "a place" / "erlang"
    starters = [erlang / "bin/erl", erlang / "erts-13.1.5/bin/erl"]
    for starter in starters:
        write_program(starter, says_root)
    packages._relocate_erlang(erlang)
    moved = erlang.rename(tmp_path / "moved")
    for starter in starters:
        path = moved / starter.relative_to(erlang)
        assert subprocess.run([path], capture_output=True, text=True, check=True).stdout.strip() == str(moved)


def test_where_nothing_is_to_be_had_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError) as caught:
        private_broker(tmp_path / "node", cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert "no apt-get" in str(caught.value)
    assert "OMS_TEST_BROKER_URL" in str(caught.value)


FAKE_APT_CACHE = """#!/bin/sh
echo "$0 $*" >> {log}
case "$*" in *Dir::State::Lists*) printf 'rabbitmq-server\\nerlang-base\\n  Depends: libc6\\n<abi>\\n';;
*) echo 'E: No packages found' >&2; exit 100 ;; esac
"""
FAKE_APT_GET = """#!/bin/sh
echo "$0 $*" >> {log}
case "$1" in install) echo 'Inst libsctp1 (1.0 Debian [amd64])'; echo 'Inst libc6 (2 Debian [amd64])' ;;
download) : > server_1.deb ;; esac
"""
FAKE_DPKG = """#!/bin/sh
mkdir -p "$3/usr/lib/rabbitmq/bin" "$3/usr/lib/erlang/bin"
"""


def test_without_package_lists_lists_of_our_own_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls"
    for name, text in {"apt-cache": FAKE_APT_CACHE, "apt-get": FAKE_APT_GET, "dpkg": FAKE_DPKG}.items():
        write_program(tmp_path / "bin" / name, text.replace("{log}", str(log)))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    found = packages.fetch_packages(tmp_path / "cache")
    assert found.scripts == tmp_path / "cache/rabbitmq/usr/lib/rabbitmq/bin"
    calls = log.read_text()
    assert f"update --quiet -o Dir::State::Lists={tmp_path}/cache/apt/lists" in calls
    assert calls.splitlines()[-1].endswith("rabbitmq-server erlang-base libsctp1")
    assert packages.fetch_packages(tmp_path / "cache") == found
    assert log.read_text() == calls


def test_a_folder_without_an_unpacked_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="holds no unpacked system with RabbitMQ"):
        in_unpacked_system(tmp_path)


def test_an_unpacked_system_that_sees_no_processes_is_refused(tmp_path: Path) -> None:
    """Its RabbitMQ would start without its watch over memory, and so never raise an alarm."""
    write_program(tmp_path / "usr/lib/rabbitmq/bin/rabbitmq-server")
    (tmp_path / "usr/lib/rabbitmq/plugins/rabbit-4.3.6").mkdir(parents=True)
    with pytest.raises(ServerError, match=f"mount --bind /proc {tmp_path}/proc"):
        in_unpacked_system(tmp_path)
    write_program(tmp_path / "proc/meminfo")
    assert in_unpacked_system(tmp_path).version() == (4, 3, 6)


def test_a_container_is_the_last_way_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls"
    write_program(tmp_path / "bin" / "docker", f'#!/bin/sh\necho "$*" >> {log}\n')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(container, "answers_amqp", lambda port: True)
    broker = private_broker(tmp_path / "node", cache=tmp_path / "cache")
    assert isinstance(broker, RabbitContainer)
    with broker:
        broker.kill()
        broker.restart()
    calls = [line.replace(broker._name, "NAME") for line in log.read_text().splitlines()]
    assert calls == [
        "info",
        "rm --force --volumes NAME",
        f"create --name NAME --publish 127.0.0.1:{broker.port}:5672 {container.IMAGE}",
        "start NAME",
        "kill NAME",
        "restart --time 60 NAME",
        "rm --force --volumes NAME",
    ]
