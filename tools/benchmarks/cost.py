"""What a run costs: CPU by process, memory, rows written, bytes of write-ahead log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
import psycopg

Cpu = dict[str, float]
"""Seconds of CPU by group of processes."""


def cpu_seconds(pids: Mapping[str, int | None]) -> Cpu:
    """Seconds of CPU used so far by each process and its children, ended ones included."""
    return {name: _tree_seconds(pid) for name, pid in pids.items() if pid is not None}


def resident_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Memory in use, by process."""
    return {name: psutil.Process(pid).memory_info().rss for name, pid in pids.items()}


def _tree_seconds(pid: int) -> float:
    root = psutil.Process(pid)
    seconds = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
        if process is root:
            seconds += times.children_user + times.children_system
    return seconds


@dataclass(frozen=True, slots=True)
class Written:
    """Rows written since a database was made, by table and kind, and the position in the log."""

    rows: Counter[str]
    wal: int

    def since(self, earlier: Written) -> Written:
        """What was written in between."""
        rows = Counter(self.rows)
        rows.subtract(earlier.rows)
        return Written(rows, self.wal - earlier.wal)

    def messages(self) -> int:
        """Every message leaves through an outbox, so its rows count the messages."""
        return sum(count for name, count in self.rows.items() if name.endswith("outbox inserted"))

    def total(self) -> int:
        """Rows inserted, updated and deleted."""
        return self.rows.total()


_ROWS = """
SELECT schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables
"""


def written(database_url: str) -> Written:
    """What has been written so far; sessions report their rows when they are idle for a second."""
    rows: Counter[str] = Counter()
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table, inserted, updated, deleted in connection.execute(_ROWS):
            rows[f"{table} inserted"] = inserted
            rows[f"{table} updated"] = updated
            rows[f"{table} deleted"] = deleted
        position = connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    assert position is not None
    return Written(rows, int(position[0]))
