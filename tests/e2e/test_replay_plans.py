"""What every topic says of a replay from its beginning, once a set is published: nothing would change."""

from dataharvest.replaying.requests import REPLAYABLE
from dataharvest.rules.batching import SMALL_RECORDS
from tests.conftest import Command, RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.sets import make_set
from tests.kills.world import eventually

FILES = make_set("replay-plans", transactions=SMALL_RECORDS + 1)
"""So many that every topic has messages of it; what is small is done without any of ``work``."""


async def test_a_plan_for_every_topic_from_offset_0_changes_nothing(
    stack_environment: dict[str, str], running_workers: RunWorkers, dataharvest: Command
) -> None:
    outside = Outside(stack_environment)

    async def told() -> bool:
        return any(FILES.tenant.encode() in (one.value or b"") for one in await outside.records("notifications"))

    with running_workers(1):
        await outside.put_set(FILES)
        await outside.published([FILES.tenant])
        # Sent within the second after that; a worker that ended before would leave it to the next one.
        await eventually(told, what="the notification", within_s=30)
    begun = await outside.query("SELECT * FROM replay")
    for topic in REPLAYABLE:
        plan = dataharvest("replay", topic, "--from-offset", "0", "--tenant", FILES.tenant, "--plan")
        assert plan.returncode == 0, plan.stderr
        assert plan.stdout.endswith("nothing would be published: every stage knows all of it already\n"), plan.stdout
        assert int(plan.stdout.partition(" ")[0].replace(",", "")) > 0, plan.stdout
    assert await outside.query("SELECT * FROM replay") == begun
    outside.s3.close()
