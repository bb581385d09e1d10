"""The embedded Apache Kafka: one KRaft node that is broker and controller."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from dataharvest.errors import Unavailable
from dataharvest.stack import ports
from dataharvest.stack.java import find_java
from dataharvest.stack.kafka_jars import jars_directory
from dataharvest.stack.service import Service
from dataharvest.stack.uploads_topic import has_leaders

CLUSTER_ID = "ZGF0YWhhcnZlc3RzdGFjaw"
CONTROLLER_PORT = "kafka_controller"
HEAP = "512m"
MESSAGE_BYTES = 4 * 1_048_576 + 65_536
"""The largest message: 4 MiB of payload with headroom for its headers."""

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes={message_bytes}
replica.fetch.max.bytes={message_bytes}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.hours=168
# A broker that was killed may register again only when its session has ended.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""

LOGGING = """\
<Configuration status="ERROR">
  <Appenders>
    <Console name="log" target="SYSTEM_ERR"><PatternLayout pattern="%d %p %m (%c{1})%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="log"/></Root>
    <Logger name="org.apache.kafka.common.config" level="WARN"/>
    <Logger name="kafka.server.KafkaConfig" level="WARN"/>
  </Loggers>
</Configuration>
"""


class Kafka(Service):
    """The broker of a stack. After a crash its data is what was acknowledged, on the same port."""

    name = "kafka"
    port_names: ClassVar[tuple[str, ...]] = ("kafka", CONTROLLER_PORT)
    program = "java"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def prepare_data(self) -> None:
        """Write the configuration, and format the data directory when there is none."""
        self._write_configuration()
        if self._data.exists():
            return
        partial = self.directory / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        self._properties.write_text(self._configuration(partial))
        command = ["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(self._properties)]
        formatted = subprocess.run([*self._java(), *command], capture_output=True, text=True, cwd=self.directory, check=False)
        if formatted.returncode != 0:
            raise Unavailable(f"Kafka's data directory could not be formatted: {formatted.stderr.strip()}")
        self._write_configuration()
        partial.rename(self._data)

    def command(self) -> Sequence[str]:
        """The broker in the foreground."""
        return [*self._java(), "kafka.Kafka", self.distinctive_argument()]

    def distinctive_argument(self) -> str:
        """The path of this stack's configuration."""
        return str(self._properties)

    def process_environment(self) -> Mapping[str, str]:
        """Ours without options for other people's Java programs."""
        return {name: value for name, value in os.environ.items() if name not in {"JDK_JAVA_OPTIONS", "CLASSPATH"}}

    def is_ready(self) -> bool:
        """Whether the topic ``uploads`` is there, made if needed, and all its partitions have a leader."""
        return has_leaders(self.address)

    def _write_configuration(self) -> None:
        (self.directory / "tmp").mkdir(parents=True, exist_ok=True)
        (self.directory / "log4j2.xml").write_text(LOGGING)
        self._properties.write_text(self._configuration(self._data))

    def _configuration(self, data: Path) -> str:
        known = self.home.state().ports
        return PROPERTIES.format(
            host=ports.HOST,
            port=known["kafka"],
            controller_port=known[CONTROLLER_PORT],
            data=data,
            message_bytes=MESSAGE_BYTES,
        )

    def _java(self) -> list[str]:
        return [
            str(find_java()),
            f"-Xms{HEAP}",
            f"-Xmx{HEAP}",
            "-XX:+ExitOnOutOfMemoryError",
            # Next to other services on few cores: compiling a second time and collecting side by side cost twice what the broker
            # itself uses, and to the usual collector every chunk is an object too large for its regions.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            # Java would keep its counters in the machine's /tmp, and unpack compression libraries there.
            "-XX:-UsePerfData",
            f"-Djava.io.tmpdir={self.directory / 'tmp'}",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={self.directory / 'log4j2.xml'}",
            "-cp",
            f"{jars_directory()}/*",
        ]
