"""The uploads of a harvest: a few files side by side, and whether somebody else wrote under their keys meanwhile."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from dataharvest.harvest.display import Display
from dataharvest.harvest.folder import PlannedUpload
from dataharvest.objects import ObjectStore, ObjectVersion

_AT_ONCE = 3


@dataclass
class Uploads:
    """What was uploaded so far, by object key."""

    bucket: str
    objects: ObjectStore
    display: Display
    versions: dict[str, ObjectVersion] = field(default_factory=dict)
    overwritten: set[str] = field(default_factory=set)
    """Keys that somebody else wrote or deleted before our upload was looked at."""

    async def put(self, uploads: Iterable[PlannedUpload], *, total: int) -> None:
        """Upload these, of ``total`` in all.

        Raises:
            Unavailable: S3 is not there.
            ObjectTrouble: the bucket takes no files.
        """
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(upload: PlannedUpload) -> None:
            async with slots:
                await self._put(upload, total=total)

        try:
            async with asyncio.TaskGroup() as group:
                for upload in uploads:
                    group.create_task(one(upload))
        except ExceptionGroup as failures:
            # Of uploads side by side, one reason is enough.
            raise failures.exceptions[0] from failures

    async def look_again(self, keys: Collection[str]) -> None:
        """Note which of these keys hold something else by now. Raises Unavailable."""
        for key in keys:
            now = await self.objects.head(self.bucket, key)
            if now is None or now.identity != self.versions[key].identity:
                self.overwritten.add(key)

    async def _put(self, upload: PlannedUpload, *, total: int) -> None:
        await self.objects.put_file(self.bucket, upload.key, upload.path)
        version = await self.objects.head(self.bucket, upload.key)
        if version is None:
            self.overwritten.add(upload.key)
        else:
            self.versions[upload.key] = version
        done = len(self.versions)
        self.display.show("uploading", done=done, total=total, detail=f"{done} of {total} files")
