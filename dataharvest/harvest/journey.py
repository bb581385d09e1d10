"""A harvest from the first upload to the last message: uploads, waits, reads what went out."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from dataharvest.adapters.postgres.status import PostgresStatus, UploadView
from dataharvest.entities import all_entities
from dataharvest.errors import Unavailable
from dataharvest.harvest.display import Display
from dataharvest.harvest.folder import Plan
from dataharvest.harvest.outbound import Offsets, SortedLines, end_offsets, read_outbound
from dataharvest.harvest.settlement import ENDED, OVERWRITTEN, Sight, awaited, is_settled, unended
from dataharvest.harvest.uploading import Uploads
from dataharvest.harvest.workers import Workers, member_count
from dataharvest.objects import ObjectStore
from dataharvest.outbound import all_outbound
from dataharvest.ports import Contracts
from dataharvest.settings import APP_ID, Settings
from dataharvest.status import StatusReport
from dataharvest.topics import load_topics

_FIRST_POLL_S, _LONGEST_POLL_S = 0.2, 1.0
_LOOK_FOR_WORKERS_S = 3.0
_LOOK_AT_BUCKET_S = 5.0
_OUTAGE_PAUSE_S = 1.0


@dataclass
class Journey:
    """One harvest: `prepare`, then `travel`, then `report` and `messages`."""

    plan: Plan
    settings: Settings
    objects: ObjectStore
    status: PostgresStatus
    contracts: Contracts
    workers: Workers
    worker_count: int
    display: Display
    tell: Callable[[str], None]
    started_at: datetime | None = None
    last_outage: str | None = None
    _offsets: Offsets = field(default_factory=dict)
    _known: dict[str, UploadView] = field(default_factory=dict)
    _sight: Sight = field(default_factory=lambda: Sight(uploads={}, sets=None))

    def __post_init__(self) -> None:
        """Begin with nothing uploaded."""
        self._uploads = Uploads(self.settings.s3_bucket, self.objects, self.display)

    async def prepare(self) -> None:
        """Note where the outbound topics end, and start workers if none runs.

        Raises:
            Unavailable: PostgreSQL or Kafka is not there.
            Rejected: the tenant's contract was stored by another version of the program.
        """
        self.started_at = await self.status.now()
        await self._date_plan()
        partitions = {topic: load_topics()[topic].partitions for topic in all_outbound()}
        self._offsets = await end_offsets(self.settings.broker, partitions)
        await self._staff()

    async def travel(self) -> None:
        """Upload everything and wait until it has settled; cancel it when the time is over.

        Raises:
            Unavailable: S3 is not there.
            Misconfigured: a worker refuses to run.
            ObjectTrouble: the bucket takes no files.
        """
        staffing = asyncio.create_task(self._keep_staffed())
        watching = asyncio.create_task(self._watch_bucket())
        going = asyncio.create_task(self._go())
        try:
            done, _ = await asyncio.wait({staffing, watching, going}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (staffing, watching, going):
                task.cancel()
            await asyncio.gather(staffing, watching, going, return_exceptions=True)

    def waits_for(self) -> list[str]:
        """What it still waits for, by the last look."""
        return awaited(self._sight, tenant=self.plan.tenant, dates=self.plan.dates)

    async def report(self, *, sample: int) -> StatusReport:
        """Where the sets and the uploads stand now."""
        return await self.status.report(
            tenant=self.plan.tenant, dates=self.plan.dates, delivery_ids=self.uploaded, since=self.started_at, sample=sample
        )

    async def messages(self) -> SortedLines:
        """The messages that went out for the sets since the start."""
        return await read_outbound(self.settings.broker, self._offsets, tenant=self.plan.tenant, dates=self.plan.dates)

    @property
    def uploaded(self) -> list[int]:
        """Ids of the uploads' deliveries."""
        return [one.delivery_id for one in self._known.values() if one.delivery_id is not None]

    @property
    def manifests(self) -> list[int]:
        """Ids of the uploaded manifests."""
        return [one.manifest_id for one in self._known.values() if one.manifest_id is not None]

    @property
    def are_all_repeats(self) -> bool:
        """Whether every upload has content that was there before."""
        states = [one.state for one in self._known.values() if one.delivery_id is not None]
        return bool(states) and set(states) == {"repeat"}

    @property
    def overwritten(self) -> list[str]:
        """Keys that somebody else wrote or deleted before our upload was looked at."""
        return sorted(self._uploads.overwritten)

    async def _date_plan(self) -> None:
        _, contract = await self.contracts.current(self.plan.tenant)
        self.plan = self.plan.dated(contract.date_in_key, entities=all_entities())

    async def _staff(self) -> bool:
        if await member_count(self.settings.broker, APP_ID):
            return False
        self.workers.start(self.worker_count)
        return True

    async def _keep_staffed(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_FOR_WORKERS_S if not self.workers.logs else _FIRST_POLL_S)
            self.workers.require_alive()
            if self.workers.logs:
                continue
            try:
                # A worker that was killed counts as alive until Kafka misses it; then somebody has to take over.
                if await self._staff():
                    self.tell("the workers that were running are gone: started one")
            except Unavailable as outage:
                self.last_outage = str(outage)

    async def _go(self) -> None:
        total = len(self.plan.uploads)
        manifests = [one for one in self.plan.uploads if one.is_manifest]
        if manifests:
            await self._uploads.put(manifests, total=total)
            # Before the files: a set must not go out while the manifest that contradicts it is on its way.
            await self._wait(lambda: all(self._sight.uploads.values()))
        await self._uploads.put([one for one in self.plan.uploads if not one.is_manifest], total=total)
        await self._wait(lambda: is_settled(self._sight, tenant=self.plan.tenant, dates=self.plan.dates))

    async def _watch_bucket(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_BUCKET_S)
            try:
                await self._uploads.look_again(set(self._uploads.versions) - set(self._known))
            except Unavailable as outage:
                self.last_outage = str(outage)

    async def _wait(self, is_over: Callable[[], bool]) -> None:
        pause_s = _FIRST_POLL_S
        while True:
            try:
                self._sight = await self._look()
                self.last_outage = None
                if is_over():
                    return
            except Unavailable as outage:
                self.last_outage = str(outage)
                await asyncio.sleep(_OUTAGE_PAUSE_S)
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_POLL_S, pause_s * 1.01)

    async def _look(self) -> Sight:
        uploaded, overwritten = self._uploads.versions, self._uploads.overwritten
        found = await self.status.uploads(list(uploaded.values()))
        self._known = {version.key: view for version, view in found.items()}
        states: dict[str, str | None] = {key: one.state for key, one in self._known.items()}
        missing = {key: OVERWRITTEN if key in overwritten else None for key in {*uploaded, *overwritten}}
        states = {**missing, **states}
        if unended(states):
            self._show_loading()
            return Sight(uploads=states, sets=None)
        sets = await self.status.standings(self.plan.tenant, self.plan.dates) if self.plan.dates else {}
        for standing in sets.values():
            self.display.show(standing.state, done=0, total=0, detail=standing.reason)
        return Sight(uploads=states, sets=sets)

    def _show_loading(self) -> None:
        views = self._known.values()
        total = sum(max(one.expected_chunk_count, one.stored_chunk_count) for one in views if one.state not in ENDED)
        stored = sum(one.stored_chunk_count for one in views if one.state not in ENDED)
        ended = sum(one.state in ENDED for one in views)
        records = sum(one.record_count for one in views)
        detail = f"{records:,} records stored, {ended} of {len(self._uploads.versions)} files done"
        self.display.show("loading", done=stored, total=max(total, 1), detail=detail)
