"""The services that `dataharvest replay` works with."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataharvest.cli.asking import quiet_libraries

if TYPE_CHECKING:
    from dataharvest.adapters.kafka_log import KafkaLog
    from dataharvest.adapters.postgres.replay_ledger import PostgresReplayLedger
    from dataharvest.adapters.postgres.replays import PostgresReplays
    from dataharvest.services import Connected
    from dataharvest.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The services of one command."""

    settings: "Settings"
    connected: "Connected"
    log: "KafkaLog"
    ledger: "PostgresReplayLedger"
    replays: "PostgresReplays"


@asynccontextmanager
async def open_bench() -> AsyncIterator[Bench]:
    """The services, closed with the block."""
    from dataharvest.adapters.kafka_log import KafkaLog
    from dataharvest.adapters.postgres.replay_ledger import PostgresReplayLedger
    from dataharvest.adapters.postgres.replays import PostgresReplays
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.services import connect
    from dataharvest.settings import load_settings

    quiet_libraries()
    settings = load_settings()
    connected = connect(settings, role="replay")
    try:
        await require_current_schema(connected.database)
        yield Bench(
            settings=settings,
            connected=connected,
            log=KafkaLog(settings.broker),
            ledger=PostgresReplayLedger(connected.database),
            replays=PostgresReplays(connected.database),
        )
    finally:
        await connected.close()


class WorkersBacklog:
    """The port ``Backlog`` on the workers' group."""

    def __init__(self, broker: str, *, topics: Iterable[str], log: "KafkaLog") -> None:
        self._broker = broker
        self._topics = tuple(dict.fromkeys(topics))
        self._log = log

    async def count(self) -> int:
        """See the port."""
        from dataharvest.adapters.kafka_offsets import KafkaOffsets
        from dataharvest.harvest.workers import member_count
        from dataharvest.settings import APP_ID

        if not await member_count(self._broker, APP_ID):
            return 0
        positions = await KafkaOffsets(self._broker, group=APP_ID, log=self._log).positions(self._topics)
        return sum(one.lag for one in positions)
