"""`python -m cluster.again N ARGUMENTS...`: pqsearch, started again up to N times when it fails for no fault of the user.

It runs beside the search on the cluster, so that nobody's own machine has to stay awake for it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence

#: Done, the user's mistake, interrupted: what trying again would not change.
FINAL = (0, 2, 130)
PAUSE_SECONDS = 5.0


def main(arguments: Sequence[str], pause: float = PAUSE_SECONDS) -> int:
    retries, stopped = int(arguments[0]), []
    # Ray sends SIGTERM to the command as well: it ends in its own time, and is not begun again.
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    for attempt in range(retries + 1):
        code = subprocess.call([sys.executable, "-m", "pqsearch", *arguments[1:]])
        if code in FINAL or stopped:
            return code if code >= 0 else 128 - code
        if attempt < retries:
            print(
                f"pqsearch ended with {code}: started again, {attempt + 1} of {retries} times",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(pause)
            if stopped:
                return 130
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
