"""Debian's chromium without a window, driven by its DevTools protocol over a websocket. `make system-deps` installs it."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

COMMAND = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
#: What a machine under load may take for anything.
PATIENCE_SECONDS = 400.0
POLL_SECONDS = 0.2


class Tab:
    """One page; `errors` is all that its console was told of as one."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.errors: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            found = message.json()
            if "id" in found:
                self._waiting.pop(found["id"]).set_result(found)
            elif found["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(found["params"]["exceptionDetails"]))
            elif found["method"] == "Runtime.consoleAPICalled" and found["params"]["type"] in ("error", "warning"):
                self.errors.append(str(found["params"]["args"]))
            elif found["method"] == "Log.entryAdded" and found["params"]["entry"]["level"] == "error":
                self.errors.append(str(found["params"]["entry"]))

    async def call(self, method: str, **values: Any) -> dict[str, Any]:
        self._number += 1
        answer = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": values})
        found = await asyncio.wait_for(answer, PATIENCE_SECONDS)
        assert "error" not in found, found
        return dict(found["result"])

    async def open(self, url: str, width: int = 1400, height: int = 1000) -> None:
        await self.resize(width, height)
        await self.call("Page.navigate", url=url)
        await self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)

    async def value(self, script: str) -> Any:
        """What an expression is worth in the page."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script: str) -> Any:
        """As `value`, once it is true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := await self.value(script)):
                await asyncio.sleep(POLL_SECONDS)
        return found

    async def picture(self, path: Path) -> None:
        found = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """An empty page in a browser of its own, which is ended by its process id."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [*COMMAND, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    url = next(one["webSocketDebuggerUrl"] for one in await answer.json() if one["type"] == "page")
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    found = Tab(socket)
                    listening = asyncio.create_task(found.listen())
                    for domain in ("Runtime", "Log", "Page"):
                        await found.call(f"{domain}.enable")
                    yield found
                    listening.cancel()
                    with suppress(asyncio.CancelledError):
                        await listening
        finally:
            process.terminate()
            process.wait(timeout=60)


async def _port(file: Path) -> int:
    """The port that the browser has chosen."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            lines = file.read_text().splitlines() if file.is_file() else []
            if len(lines) > 1:
                return int(lines[0])
            await asyncio.sleep(POLL_SECONDS)
