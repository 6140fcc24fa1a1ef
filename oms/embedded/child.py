"""Server processes that live no longer than we do.

A server is started in a session of its own, so that Ctrl-C in a terminal reaches us and not it: we decide
when it stops. Where `setpriv` exists (any Linux with util-linux) the kernel also asks it to end when we are
killed; what is left over all the same is ended at the next start.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import psutil

# The kernel's "parent died" means the parent's *thread*. One thread that lives as long as we do starts every
# server; otherwise a server started from a short-lived worker thread would end with that thread.
_STARTER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-starter")

# How to end a server: signals in turn, each with the seconds to wait for its effect; SIGKILL comes last.
Ending = Sequence[tuple[signal.Signals, float]]


class ServerError(Exception):
    """A private server could not be started or kept running; the message is one line for a person."""


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that a server runs as when we are root.

    `capability` names the one capability that is kept, for folders below a place that only root may enter.
    """

    uid: int
    gid: int
    capability: str | None = None


def start_server(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    log: Path,
    death_signal: signal.Signals,
    account: Account | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server whose output goes to `log` (begun anew); `death_signal` is what it gets when we die.

    Raises ServerError when the program cannot be run at all.
    """
    command = [*_privilege_prefix(account, death_signal), *map(str, argv)]

    def popen() -> subprocess.Popen[bytes]:
        with output:
            return subprocess.Popen(
                command,
                env=dict(env),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    try:
        output = log.open("wb")
    except OSError as error:
        raise ServerError(f"cannot write {log}: {error.strerror or error}") from None
    try:
        return _STARTER.submit(popen).result()
    except OSError as error:
        raise ServerError(f"cannot run {argv[0]}: {error.strerror or error}") from None


def run_tool(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    account: Account | None = None,
    text_input: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a short program to its end as `account`; the caller looks at the return code and the output.

    Where the kernel can be asked, it ends with us too.
    """
    command = [*_privilege_prefix(account, signal.SIGTERM), *map(str, argv)]
    try:
        return subprocess.run(
            command, env=dict(env), cwd="/", input=text_input, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise ServerError(f"cannot run {argv[0]}: {error.strerror or error}") from None


def end_server(process: subprocess.Popen[bytes], steps: Ending) -> None:
    """Send each signal in turn and wait its number of seconds, until the process is gone; finally SIGKILL."""
    for signal_number, patience_s in (*steps, (signal.SIGKILL, 30.0)):
        if process.poll() is not None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        return
    raise ServerError(f"process {process.pid} does not end")


def end_leftover(pid_file: Path, marker: str, steps: Ending) -> None:
    """End the server whose owner was killed: the process that `pid_file` names in its first line.

    It is ours only if `marker` is one of its arguments; another process with that number is left alone. The
    caller holds the folder's lock, so a server that runs there belongs to nobody.
    """
    lines = lines_of(pid_file)
    if not lines or not lines[0].isdigit():
        return
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(lines[0]))
        for signal_number, patience_s in (*steps, (signal.SIGKILL, 30.0)):
            if not _runs_with(process, marker):
                return
            process.send_signal(signal_number)
            wait_until(lambda: not _runs_with(process, marker), timeout_s=patience_s)
        if _runs_with(process, marker):
            raise ServerError(f"process {process.pid}, left over from an earlier start, does not end")


def end_orphans(folder: Path, name: str) -> None:
    """Kill what a killed server has left at work in `folder`: processes of that `name` at home there.

    They end by themselves once they notice, unless they are stopped or busy. The caller holds the folder's
    lock and has ended its server.
    """
    home = os.path.realpath(folder)
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.cmdline()[:1] and process.cmdline()[0].startswith(name) and process.cwd() == home:
                process.kill()


def _runs_with(process: psutil.Process, marker: str) -> bool:
    try:
        return marker in process.cmdline()  # a zombie has no arguments any more
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def lines_of(file: Path) -> list[str]:
    """The lines of a small file without surrounding blanks; none when there is no file."""
    try:
        return [line.strip() for line in file.read_text(errors="replace").splitlines()]
    except FileNotFoundError:
        return []


def wait_until(condition: Callable[[], bool], *, timeout_s: float, every_s: float = 0.05) -> bool:
    """Look at `condition` again and again; False when it has not come true in time."""
    give_up_at = monotonic() + timeout_s
    while not condition():
        if monotonic() > give_up_at:
            return False
        sleep(every_s)
    return True


def last_words(log: Path, *markers: str) -> str:
    """The last line of a server's log with one of `markers` in it, else its last line, for error messages."""
    try:
        lines = [line for line in lines_of(log) if line]
    except OSError as error:
        return f"{log}: {error.strerror}"
    marked = [line for line in lines if any(marker in line for marker in markers)]
    return (marked or lines or ["it wrote nothing"])[-1]


def may_use(account: Account, *paths: Path) -> bool:
    """Can this account enter or execute every one of `paths`?"""
    tests = " && ".join(f'test -x "${number}"' for number in range(1, len(paths) + 1))
    return run_tool(["/bin/sh", "-c", tests, "sh", *paths], env=os.environ, account=account).returncode == 0


def _privilege_prefix(account: Account | None, death_signal: signal.Signals) -> list[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if account is not None:
            raise ServerError(
                "running a server as root needs setpriv (util-linux); install it, or be another user"
            )
        return []
    options: list[str] = []
    if account is not None:
        options += [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", "--no-new-privs"]
        kept = f"-all,+{account.capability}" if account.capability else "-all"
        options += [f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    if account is not None and account.capability:
        # Else the kernel forgets the capability where a program asks by access(2) what it may do, as initdb.
        options.append("--securebits=+no_setuid_fixup")
    options.append(f"--pdeathsig={death_signal.name.removeprefix('SIG')}")
    return [setpriv, *options]
