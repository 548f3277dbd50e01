"""`pqsearch dashboard RUN_DIR`: the page of a run, live while it searches."""

from __future__ import annotations

import argparse

from pqsearch.arguments import Add
from pqsearch.errors import UserError

#: Beside Ray's own dashboard, which has 8265.
PORT = 8280


def add(add_command: Add) -> None:
    """Make the subcommand."""
    command = add_command(
        "dashboard", "serve a page that shows a run's search, live", "pqsearch dashboard runs/digits", run
    )
    command.add_argument("run_dir", metavar="RUN_DIR")
    command.add_argument("--port", metavar="PORT", default=str(PORT), help=f"({PORT}); 0 picks a free one")
    command.add_argument("--host", default="127.0.0.1", help="the address to serve at (127.0.0.1: this machine only)")


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted, which is no failure."""
    if not options.port.isdecimal() or int(options.port) > 65535:
        raise UserError(f"--port {options.port}: must be a whole number from 0 to 65535")
    import asyncio

    from pqsearch.dashboard.server import LOOPBACK, address, listen, serve
    from pqsearch.dashboard.watched import Watched
    from pqsearch.run_dir import RunDirectory
    from pqsearch.store_session import looking_on

    try:
        watched = Watched(RunDirectory.existing(options.run_dir))
        with looking_on(watched.run.store), listen(options.host, int(options.port)) as bound:
            watched.follow()

            def say() -> None:
                if options.host not in LOOPBACK:
                    print(
                        f"warning: --host {options.host} lets everyone who reaches this machine read the run",
                        flush=True,
                    )
                print(f"{watched.spec.study.name}: {address(bound)} (Ctrl-C ends it, not the search)", flush=True)

            asyncio.run(serve(watched, bound, say))
    except KeyboardInterrupt:
        pass  # before there was a page
    return 0
