"""A stack whose three links lead through proxies, and what workers need to know to use them."""

import asyncio
from collections.abc import AsyncIterator, Container
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from dataharvest.stack import Stack
from dataharvest.stack.kafka import Kafka
from dataharvest.stack.ports import HOST, LOWEST_PORT, PORT_SPAN, choose, ephemeral_start
from tests.faults.disks import mount_small_disks
from tests.faults.proxy import Proxy
from tests.kills.world import World, world

LINKS = ("s3", "kafka", "postgres")
PROXY_PORT = "kafka_proxy"


def proxy_port(*, taken: Container[int]) -> int:
    """A free port of those from which no stack chooses, if there are any: another one may start before this one is used."""
    return choose(range(LOWEST_PORT, max(LOWEST_PORT + 1_000, ephemeral_start() - PORT_SPAN)), taken=taken)


class ProxiedKafka(Kafka):
    """A broker with a second listener that tells its clients to go on through the proxy.

    A client leaves a proxy after the first answer, unless what the listener advertises is the proxy itself.
    """

    port_names = (*Kafka.port_names, "kafka_proxied")

    def prepare_data(self) -> None:
        """Choose the proxy's port, once."""
        with self.home.changing() as state:
            state.facts.setdefault(PROXY_PORT, str(proxy_port(taken=state.ports.values())))
        super().prepare_data()

    def _configuration(self, data: Path) -> str:
        state = self.home.state()
        lines = []
        for line in super()._configuration(data).splitlines():
            name, _, value = line.partition("=")
            added = {
                "listeners": f",PROXIED://{HOST}:{state.ports['kafka_proxied']}",
                "advertised.listeners": f",PROXIED://{HOST}:{state.facts[PROXY_PORT]}",
                "listener.security.protocol.map": ",PROXIED:PLAINTEXT",
            }
            lines.append(f"{name}={value}{added[name]}" if name in added else line)
        # Who was killed is missed sooner, and a run has room for more faults.
        return "\n".join([*lines, "group.min.session.timeout.ms=1000"]) + "\n"


class ProxiedStack(Stack):
    """A stack with such a broker."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._kafka = ProxiedKafka(self.home)


class SmallDiskStack(ProxiedStack):
    """A stack whose disks can be filled."""

    def __init__(self, home: Path) -> None:
        mount_small_disks(home)
        super().__init__(home)


class Site:
    """A world with a proxy before each service."""

    def __init__(self, made: World, proxies: dict[str, Proxy]) -> None:
        self.world = made
        self.proxies = proxies

    @property
    def through_proxies(self) -> dict[str, str]:
        """Settings of a worker that reaches every service through its proxy."""
        known = self.world.environment
        return {
            "DATAHARVEST_BROKER": f"{HOST}:{self.proxies['kafka'].port}",
            "DATAHARVEST_DATABASE_URL": _with_port(known["DATAHARVEST_DATABASE_URL"], self.proxies["postgres"].port),
            "DATAHARVEST_S3_ENDPOINT_URL": _with_port(known["DATAHARVEST_S3_ENDPOINT_URL"], self.proxies["s3"].port),
        }

    async def heal(self) -> None:
        """End whatever the proxies do, and start the services that are down."""
        for proxy in self.proxies.values():
            proxy.heal()
        for service in self.world.stack.services:
            if service.identity is None:
                await self.world.start_service(service.name)


def _with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{HOST}:{port}"))


@asynccontextmanager
async def site(*, home: Path | None = None, has_small_disks: bool = False) -> AsyncIterator[Site]:
    """A fresh stack with its proxies; removed afterwards unless ``home`` is given. What was there before is erased.

    A disk that can be filled is too small for a load of a gigabyte.
    """
    if home is not None:
        await asyncio.to_thread(Stack(home).erase)
    async with AsyncExitStack() as running:
        made = await running.enter_async_context(world(home=home, stack_at=SmallDiskStack if has_small_disks else ProxiedStack))
        state = made.stack.home.state()
        known = state.ports
        targets = {"s3": known["s3"], "kafka": known["kafka_proxied"], "postgres": known["postgres"]}
        taken = [*known.values(), int(state.facts[PROXY_PORT])]
        proxies: dict[str, Proxy] = {}
        for name, target in targets.items():
            port = int(state.facts[PROXY_PORT]) if name == "kafka" else await asyncio.to_thread(partial(proxy_port, taken=taken))
            taken.append(port)
            proxies[name] = await running.enter_async_context(Proxy(port, target).serving())
        yield Site(made, proxies)
