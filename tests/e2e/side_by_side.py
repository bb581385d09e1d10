"""Commands that run at the same time: two at the same record, and a replay while all the rest goes on."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping

from tests.e2e.outside import Outside
from tests.kills.world import eventually
from tests.programs import PROGRAM

_END_S = 60


def at_once(environment: Mapping[str, str], *commands: list[str]) -> list["subprocess.CompletedProcess[str]"]:
    """What became of commands of the program that were started at the same moment."""
    started = [_started(environment, words) for words in commands]
    said = [one.communicate(timeout=120) for one in started]
    return [
        subprocess.CompletedProcess(one.args, one.returncode, out, err) for one, (out, err) in zip(started, said, strict=True)
    ]


class SlowReplay:
    """A replay of a tenant's chunks that takes longer than what happens meanwhile."""

    def __init__(self, environment: Mapping[str, str], tenant: str) -> None:
        self._environment = environment
        self._process = _started(environment, ["replay", "chunks", "--tenant", tenant, "--rate", "0.02"])

    def interrupt(self) -> str:
        """End it as Ctrl-C does; its number."""
        assert self._process.poll() is None, "it ended by itself: nothing has happened meanwhile"
        self._process.send_signal(signal.SIGINT)
        _, said = self._process.communicate(timeout=_END_S)
        assert self._process.returncode == 130, said
        found = re.search(r"dataharvest replay --resume (\d+)", said)
        assert found, said
        return found[1]


async def under_way(outside: Outside, tenant: str) -> None:
    """Wait until a replay of the tenant has begun."""
    query = "SELECT count(*) FROM replay WHERE ended_at IS NULL AND request->>'tenant' = $1"

    async def has_begun() -> bool:
        return bool(await outside.one(query, tenant))

    await eventually(has_begun, what=f"a replay of {tenant} under way", within_s=_END_S)


def _started(environment: Mapping[str, str], words: list[str]) -> "subprocess.Popen[str]":
    home = {"DATAHARVEST_HOME": environment["DATAHARVEST_HOME"]}
    return subprocess.Popen(
        [PROGRAM, *words], env={**os.environ, **home}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
