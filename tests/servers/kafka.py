"""A private Kafka broker: one process that is broker and controller (KRaft).

Its jars come from Maven Central by the machine's own Maven and its settings, once, into the cache
of servers.
"""

from __future__ import annotations

import functools
import shutil
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

from tests.servers.apt import exclusive
from tests.servers.base import Server, ServerStartError, ServerUnavailableError
from tests.servers.process import Command, free_port

VERSION = "4.1.0"
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>cdc</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version>
</dependency></dependencies></project>
"""
# A single broker keeps one copy; a small heap and no second compiler start faster.
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "num.partitions": "1",
}
_JAVA = ("-Xmx512m", "-Xms64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class KafkaServer(Server):
    """Kafka on a TCP port of the loopback address.

    Args:
        directory: Home that outlives the process; a temporary one when None.
        port: TCP port; a free one when None.
        settings: Further lines of the broker's properties.
    """

    kind = "kafka"
    user = ""
    password = ""
    discard_signal = signal.SIGKILL

    def __init__(
        self, directory: Path | None = None, port: int | None = None, **settings: str
    ) -> None:
        self._jars = find_jars()
        super().__init__(directory, port)
        self.name = self.probe()
        self._controller = free_port()
        self._settings = settings

    @classmethod
    def probe(cls) -> str:
        """Name of the server to be had; see :meth:`Server.probe`."""
        find_jars()
        return f"kafka-{VERSION.rpartition('.')[0]}"

    @property
    def url(self) -> str:
        """Address of the broker, `host:port`."""
        return f"{self.host}:{self.port}"

    def connect(self, **kwargs: Any) -> Any:
        """Return an admin client of a broker that answers.

        Raises:
            KafkaException: It does not answer.
        """
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": self.url, "log_level": 0, **kwargs})
        client.list_topics(timeout=2)
        client.close = lambda: None  # librdkafka ends it with the object
        return client

    def _prepare(self) -> None:
        self._write_settings()
        number = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # As one word, since an id may begin with a minus.
        tool = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={number}"]
        argv = [*self._java(), *tool, "-c", str(self._properties)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerStartError(f"{self.name} could not format its folder: {done.stderr}")

    @property
    def _properties(self) -> Path:
        return self.home / "server.properties"

    def _write_settings(self) -> None:
        controller = f"{self.host}:{self._controller}"
        settings = _SETTINGS | {
            "listeners": f"PLAINTEXT://{self.url},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.url}",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": str(self.datadir),
            **{name.replace("_", "."): value for name, value in self._settings.items()},
        }
        lines = (f"{name}={value}\n" for name, value in settings.items())
        self._properties.write_text("".join(lines), encoding="utf-8")

    def _java(self) -> list[str]:
        return ["java", *_JAVA, "-cp", f"{self._jars}/*"]

    def _command(self) -> Command:
        argv = [*self._java(), "kafka.Kafka", str(self._properties)]
        return Command(argv, self.log_path, cwd=self.home)


@functools.cache
def find_jars() -> Path:
    """Return the folder with the broker's jars, fetched when it is not there.

    Raises:
        ServerUnavailableError: There is no Java or Maven, or the jars cannot be fetched.
    """
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise ServerUnavailableError(f"{program} is not installed")
    with exclusive("kafka") as root:
        jars = root / f"kafka-{VERSION}"
        if not jars.exists():
            fresh = root / f"kafka-{VERSION}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            (fresh / "pom.xml").write_text(_POM.format(version=VERSION), encoding="utf-8")
            argv = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=."]
            done = subprocess.run(argv, cwd=fresh, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ServerUnavailableError(f"its jars cannot be fetched: {done.stdout[-1000:]}")
            fresh.rename(jars)
        return jars
