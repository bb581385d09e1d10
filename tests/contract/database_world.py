"""The whole journey with a real database: only broker and bucket are fakes, so that a test says what happens when."""

from dataharvest.adapters.postgres.connection import Database
from dataharvest.adapters.postgres.contracts import PostgresContracts
from dataharvest.adapters.postgres.sweeping import PostgresSweepState
from dataharvest.adapters.postgres.tenants import PostgresTenants
from tests.agents.test_corrections import Story
from tests.agents.worlds import Ports, World
from tests.contract.ledgers import Ledger


class DatabaseWorld(World):
    """The fakes of broker and bucket around the real database."""

    def __init__(self, real: Ledger, database: Database) -> None:
        self._real = real
        self.database = database
        super().__init__()

    def _ports(self) -> Ports:
        real = self._real
        return Ports(
            deliveries=real.deliveries,
            manifests=real.manifests,
            contracts=PostgresContracts(self.database),
            tenants=PostgresTenants(self.database),
            chunks=real.chunks,
            judgements=real.judgements,
            removals=real.removals,
            quarantine=real.quarantine,
            sets=real.sets,
            work=real.work,
            notifications=real.notifications,
            sweep_state=PostgresSweepState(self.database),
        )


class DatabaseStory(Story):
    """What happens to it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
