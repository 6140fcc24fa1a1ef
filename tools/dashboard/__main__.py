"""`make demo-grafana`: sample orders over and over, Prometheus, and Grafana with the sample dashboard.

Prometheus is taken from the machine's Debian where it is not installed. Grafana has to be there: its package,
or its archive with `bin` on the PATH. All of it listens on loopback, and is gone when Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from oms.api_client import ApiClient
from oms.demo.play import order_samples
from oms.embedded.child import ServerError
from tools.dashboard.stage import grafana, shown

ROUND_EVERY_S: Final = 20.0
NO_GRAFANA: Final = (
    "neither grafana nor grafana-server is on the PATH: install Grafana (it is under the AGPL, so it is not "
    "fetched here), or see the data without it: ARGS=--prometheus-only"
)


def main() -> int:
    """Show it."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m tools.dashboard --prometheus-only",
    )
    parser.add_argument(
        "--prometheus-only",
        action="store_true",
        help="without Grafana: its queries by hand, on Prometheus' page",
    )
    without = parser.parse_args().prometheus_only
    started_by = None if without else grafana()
    if started_by is None and not without:
        print(f"demo-grafana: {NO_GRAFANA}", file=sys.stderr)
        return 1
    try:
        with TemporaryDirectory(prefix="oms-dashboard-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o755)
            asyncio.run(_show(Path(folder), started_by))
    except ServerError as error:
        print(f"demo-grafana: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo-grafana: everything that was started has been ended")
    return 0


async def _show(folder: Path, started_by: list[str] | None) -> None:
    print("demo-grafana: starting everything, with sample orders ...", flush=True)
    async with shown(folder, started_by) as look:
        print(f"dashboard   {look.dashboard_url or 'none: --prometheus-only'}")
        print(f"Prometheus  {look.prometheus_url}")
        print(f"the API     {look.api_url}", flush=True)
        print("Sample orders come every 20 s; Ctrl-C ends it all.", flush=True)
        async with ApiClient(look.api_url, look.admin_token) as api:
            while True:
                await asyncio.sleep(ROUND_EVERY_S)
                await order_samples(api)


if __name__ == "__main__":
    sys.exit(main())
