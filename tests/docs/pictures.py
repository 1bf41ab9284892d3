"""Takes the pictures of `docs/images/` from the running UI: `python -m tests.docs.pictures`.

Starts a private MySQL with the demo's shop, loads it, changes it, stops one table on purpose,
starts `dagster dev` on the loopback address and photographs its pages. Needs a `chromium` on the
path, which is spoken to by its DevTools protocol
(https://chromedevtools.github.io/devtools-protocol/).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from examples import shop_data
from tests.servers import CDC_PASSWORD, Server, start_server
from tests.servers.process import free_port

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
BIN = Path(sys.executable).parent
ROWS = 3000
PIPELINE = """
name: shop
description: The web shop's tables.
owners: ["team:warehouse"]
source:
  type: mysql
  host: 127.0.0.1
  port: {port}
  user: cdc
  password: ${{env:SHOP_PASSWORD}}
  tls: {{mode: require}}
  tables: ["shop.*"]
  snapshot: {{chunk_rows: 1000}}
sink:
  type: duckdb
  path: lake.duckdb
dirty_data: {{zero_dates: dirty, max_rows: 20}}
pipeline: {{schema_changes: exception}}
"""
CLICK = "[...document.querySelectorAll('button')].find(b => b.innerText.trim() == 'LABEL').click()"
PICTURES = {
    # name: page, a word that shows it is there, seconds for what is drawn after it, width, height
    "asset-graph": ('asset-groups?asset-selection=group:"shop"', "order_lines", 5, 1700, 1150),
    "changes-partitions": (
        "assets/shop/changes?view=partitions&partition={day}",
        "segment numbers",
        3,
        1300,
        1000,
    ),
    "table": ("assets/shop/shop/orders?view=overview", "watermark", 3, 1300, 1250),
    "table-checks": ("assets/shop/shop/orders?view=checks", "Passed", 4, 1300, 1150),
    "snapshot": (
        "assets/shop/snapshot?view=partitions&partition=shop.orders",
        "chunks",
        3,
        1300,
        950,
    ),
}


def main() -> int:
    """Take every picture, or those named on the command line."""
    wanted = sys.argv[1:] or list(PICTURES)
    with tempfile.TemporaryDirectory(prefix="cdc-pictures-") as folder, start_server("mysql") as db:
        env = _environment(Path(folder), db)
        _history(db, env)
        with _web_server(env) as url, Browser(Path(folder) / "chromium") as browser:
            for name in wanted:
                page, word, seconds, width, height = PICTURES[name]
                image = browser.photograph(
                    url + page.format(day=time.strftime("%Y-%m-%d", time.gmtime())),
                    word,
                    seconds,
                    width,
                    height,
                )
                (IMAGES / f"{name}.png").write_bytes(image)
                print(f"{name}.png {len(image) >> 10} KiB", flush=True)
    return 0


def _environment(home: Path, db: Server) -> dict[str, str]:
    (home / "pipelines").mkdir()
    (home / "pipelines" / "shop.yaml").write_text(PIPELINE.format(port=db.port))
    (home / "dagster").mkdir()
    sample = (ROOT / "dagster.yaml.sample").read_text()
    (home / "dagster" / "dagster.yaml").write_text(sample)
    return {
        **os.environ,
        "CDC_PIPELINES": str(home / "pipelines"),
        "CDC_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "SHOP_PASSWORD": CDC_PASSWORD,
        "PYTHONWARNINGS": "ignore",
    }


def _history(db: Server, env: dict[str, str]) -> None:
    """Load, follow, set rows aside, stop a table."""
    subprocess.run(
        [BIN / "dagster", "instance", "migrate"], env=env, check=True, stdout=subprocess.DEVNULL
    )
    shop_data.create(db.connect(), "shop", ROWS)
    dates = ", ".join(f"(9, {n}, '0000-00-00')" for n in range(7))
    with contextlib.closing(db.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(f"INSERT INTO shop.orders (shop, number, due) VALUES {dates}")
    _execute("shop_snapshot", env)
    for _ in range(2):
        _write(db)
        _execute("shop_sync", env)
    db.execute(
        "ALTER TABLE shop.products ADD COLUMN stock INT",
        "INSERT INTO shop.products (sku, stock) VALUES ('new', 7)",
    )
    _execute("shop_sync", env, code=1)
    _write(db)
    _execute("shop_sync", env)


def _write(db: Server) -> None:
    writer = shop_data.Writer(db.connect, "shop")
    writer.start()
    time.sleep(3)
    writer.stop()


def _execute(job: str, env: dict[str, str], code: int = 0) -> None:
    command = [BIN / "dagster", "job", "execute", "-m", "cdc_assets.definitions", "-j", job]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    if done.returncode != code:
        raise SystemExit(f"{job} ended with {done.returncode}:\n{output[-4000:]}")


@contextlib.contextmanager
def _web_server(env: dict[str, str]) -> Iterator[str]:
    url = f"http://127.0.0.1:{(port := free_port())}/"
    command = [BIN / "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            for _ in range(240):
                with contextlib.suppress(OSError), urllib.request.urlopen(url + "server_info"):
                    break
                time.sleep(0.5)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Browser:
    """A headless Chromium.

    Args:
        profile: A folder of its own.
    """

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._calls = 0

    def __enter__(self) -> Browser:
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars"
        )
        flags += " --disable-background-networking --disable-component-update --disable-sync"
        flags += " --no-proxy-server --remote-debugging-port=0"
        self._process = subprocess.Popen(
            ["chromium", *flags.split(), f"--user-data-dir={self._profile}", "about:blank"],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"ws://\S+", line):
                break
        else:
            raise SystemExit("chromium did not start")
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(found.group(), max_size=None))
        page = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)[
            "sessionId"
        ]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def photograph(self, url: str, word: str, seconds: float, width: int, height: int) -> bytes:
        """Return a page as PNG, once `word` is on it and some seconds later."""
        self._page(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._page("Page.navigate", url=url)
        if "view=checks" in url:
            self._wait(url, "Execute all")
            self.evaluate(CLICK.replace("LABEL", "Execute all"))
            self._wait(url, "Running")
        self._wait(url, word)
        time.sleep(seconds)
        return base64.b64decode(self._page("Page.captureScreenshot", format="png")["data"])

    def _wait(self, url: str, word: str) -> None:
        for _ in range(120):
            time.sleep(0.5)
            if word in str(self.evaluate("document.body.innerText")):
                return
        print(f"{url}: {word!r} did not appear", file=sys.stderr)

    def evaluate(self, script: str) -> Any:
        """Return what a script says of the page."""
        answer = self._page("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def _page(self, method: str, **params: Any) -> Any:
        return self._call(method, self._session, **params)

    def _call(self, method: str, session: str = "", **params: Any) -> Any:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._calls:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]


if __name__ == "__main__":
    sys.exit(main())
