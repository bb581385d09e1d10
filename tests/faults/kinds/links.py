"""F6 and F7: the answer to a COMMIT that is lost, and whatever a network does to the links of the workers."""

import asyncio
from collections.abc import Callable

from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.proxy import Proxy
from tests.faults.site import LINKS
from tests.faults.trial import Trial
from tests.kills.world import eventually

HIT_S = 30.0
TROUBLE_S = 3.0

TROUBLES: dict[str, Callable[[Proxy, int], None]] = {
    "reset": lambda proxy, byte_count: proxy.reset_after(byte_count),
    "refused": lambda proxy, _: proxy.refuse(),
    "stalled": lambda proxy, _: proxy.stall(),
    "slow to answer": lambda proxy, _: setattr(proxy, "latency_s", 0.25),
    "throttled": lambda proxy, _: setattr(proxy, "bytes_per_s", 20_000.0),
    "half-closed": lambda proxy, _: proxy.half_close(),
}
"""What is done to a proxy; the work's recovery is measured from the moment the proxy is healed."""


async def lost_commits(trial: Trial, count: int, scale: Scale) -> None:
    """The connection breaks between a COMMIT and its answer: the client can't know whether it is committed."""
    proxy = trial.site.proxies["postgres"]
    await trial.staff(2, **trial.site.through_proxies)
    for number in range(count):
        if number % 5 == 0:
            await trial.feed(scale.row_count // max(1, -(-count // 5)))
        turn = trial.chance.randint(0, 25)
        async with trial.fault("F6", f"the answer to COMMIT number {turn} is lost"):
            await _lose_answer(proxy, turn)


async def _lose_answer(proxy: Proxy, turn: int) -> None:
    before = proxy.lost_answers
    proxy.commits_until_loss = turn

    async def lost() -> bool:
        return proxy.lost_answers > before

    try:
        await eventually(lost, what="a COMMIT whose answer is lost", within_s=HIT_S)
    finally:
        proxy.commits_until_loss = None


async def broken_links(trial: Trial, count: int, scale: Scale) -> None:
    """Every link in turn is reset, refused, stalled, slow, throttled and half-closed for a few seconds."""
    await trial.staff(2, **trial.site.through_proxies)
    everything = [(link, trouble) for trouble in TROUBLES for link in LINKS]
    start = trial.chance.randrange(len(everything))
    for number in range(count):
        link, trouble = everything[(start + number) % len(everything)]
        byte_count = trial.chance.randint(0, 5_000)
        what = f"after {byte_count} bytes" if trouble == "reset" else f"for {TROUBLE_S:g} s"
        async with trial.fault("F7", f"the link to {link} is {trouble} {what}") as entry:
            proxy = trial.site.proxies[link]
            before = proxy.touched
            feeding = asyncio.create_task(trial.feed(scale.row_count // max(1, count)))
            await _until_used(proxy)
            TROUBLES[trouble](proxy, byte_count)
            await asyncio.sleep(TROUBLE_S)
            proxy.heal()
            await feeding
            entry.has_happened = proxy.touched > before
            entry.did = "" if entry.has_happened else "nothing went over the link"


async def _until_used(proxy: Proxy) -> None:
    """Wait for the first data of a load: S3 is read within a second, and idle afterwards."""
    before = proxy.passed

    async def is_used() -> bool:
        return proxy.passed > before

    await eventually(is_used, what="data on the link", within_s=HIT_S)


F6 = Kind("F6", "the answer to COMMIT is lost", times(1, 20, 200), lost_commits)
F7 = Kind("F7", "links reset, refused, stalled, slow, throttled, half-closed", times(1, 18, 90), broken_links)
