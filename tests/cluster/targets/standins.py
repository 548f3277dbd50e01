"""Stand-ins for Slurm, Ray and pqsearch, as far as the script for Slurm calls them: each writes down that it was called."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_STANDINS = {
    "srun": """
while [[ $1 == --* ]]; do [[ $1 == --nodelist=* ]] && host=${1#*=}; shift; done
echo "srun $host $*" >> "$RECORD/calls"
exec "$@"
""",
    "scontrol": """
if [[ $1 == show ]]; then printf '%s\\n' node-a node-b; else echo "scontrol $*" >> "$RECORD/calls"; fi
""",
    "hostname": "echo '127.0.0.1 192.0.2.9'",
    "ray": """
echo $$ >> "$RECORD/nodes"
[[ ${RAY_FAILS:-} ]] && exit 1
port=0
for word in "$@"; do case $word in --port=*) port=${word#*=} ;; esac; done
exec PYTHON -c "
import socket, sys, time
listening = socket.create_server(('127.0.0.1', int(sys.argv[1])))
time.sleep(600)" "$port"
""",
    "pqsearch": """
printf '%s\\n' "$@" > "$RECORD/search"
echo "$RAY_ADDRESS $RAY_AUTH_MODE ${#RAY_AUTH_TOKEN}" > "$RECORD/address"
until [[ -f $RECORD/nodes && $(wc -l < "$RECORD/nodes") == 2 ]]; do sleep 0.05; done # a search takes longer than that
[[ ${SEARCH_ENDS_WITH:-} ]] && exit "$SEARCH_ENDS_WITH"
trap 'exit 130' TERM
echo > "$RECORD/searching"
while :; do sleep 0.05; done
""",
}


def install(folder: Path) -> dict[str, str]:
    """Write them to `folder`; returns an environment in which a script finds them, as job 7 of Slurm."""
    commands = folder / "bin"
    commands.mkdir()
    for name, body in _STANDINS.items():
        path = commands / name
        path.write_text("#!/usr/bin/env bash\n" + body.replace("PYTHON", sys.executable))
        path.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "RECORD": str(folder),
        "SLURM_JOB_ID": str(os.getpid()),  # its port and folder come of it
        "SLURM_JOB_NODELIST": "node-[a-b]",
    }
