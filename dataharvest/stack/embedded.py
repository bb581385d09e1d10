"""The embedded stack as a whole: Kafka, PostgreSQL and S3, started and stopped together."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from dataharvest.stack.environment import read_environment, write_environment
from dataharvest.stack.home import StackHome, home_from_environment
from dataharvest.stack.kafka import Kafka
from dataharvest.stack.postgres import Postgres
from dataharvest.stack.prepare import prepare
from dataharvest.stack.s3 import BUCKET, REGION, S3
from dataharvest.stack.service import Service


class Stack:
    """The services of one ``DATAHARVEST_HOME``.

    Making one does nothing; the services live on when it is gone.
    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = StackHome(home_from_environment() if home is None else home)
        self._kafka, self._postgres, self._s3 = Kafka(self.home), Postgres(self.home), S3(self.home)

    @property
    def services(self) -> Sequence[Service]:
        """The services in the order in which they start."""
        return (self._postgres, self._kafka, self._s3)

    def service(self, name: str) -> Service:
        """``kafka``, ``postgres`` or ``s3``."""
        return {service.name: service for service in self.services}[name]

    def is_up(self) -> bool:
        """Whether every service answers."""
        written = self.home.environment_path.exists()
        return written and not self._s3.publishes_elsewhere() and all(item.state() == "up" for item in self.services)

    def up(self) -> None:
        """Start what is not running, after preparing what is not prepared; returns when all is ready.

        Raises:
            Misconfigured: something is missing on this machine.
            Unavailable: a service does not start; its log says why.
        """
        if self.is_up():
            return
        self.home.make()
        prepare()
        with self.home.lock():
            self._postgres.launch()
            self._kafka.launch()
            self._postgres.wait_until_ready()
            self._kafka.wait_until_ready()
            if self._s3.publishes_elsewhere():
                self._s3.end()
            self._s3.launch()
            self._s3.wait_until_ready()
            write_environment(self.home.environment_path, self._variables())

    def down(self) -> None:
        """Stop what is running: S3, then Kafka, then PostgreSQL. Data stays."""
        if not self.home.path.exists():
            return
        with self.home.lock():
            for service in (self._s3, self._kafka, self._postgres):
                service.end()

    def erase(self) -> None:
        """Stop what is running and remove the stack's home with all data."""
        self.down()
        self._postgres.erase()
        shutil.rmtree(self.home.path, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """The variables of ``stack.env``: addresses, keys and the database's URL.

        Raises:
            Misconfigured: the stack was never up.
        """
        return read_environment(self.home.environment_path)

    def postgres_bin(self, name: str) -> Path:
        """One of PostgreSQL's programs, for example ``psql``."""
        return self._postgres.binary(name)

    def _variables(self) -> dict[str, str]:
        return {
            "DATAHARVEST_BROKER": self._kafka.address,
            "DATAHARVEST_DATABASE_URL": self._postgres.url,
            "DATAHARVEST_S3_ENDPOINT_URL": self._s3.endpoint_url,
            "DATAHARVEST_S3_ACCESS_KEY": self._s3.access_key,
            "DATAHARVEST_S3_SECRET_KEY": self._s3.secret_key,
            "DATAHARVEST_S3_REGION": REGION,
            "DATAHARVEST_S3_BUCKET": BUCKET,
        }
