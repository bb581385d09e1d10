"""What one stack remembers between commands: its folder, ports, secrets and the processes it started."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dataharvest.errors import Misconfigured
from dataharvest.stack.files import locked, write_atomically
from dataharvest.stack.processes import Identity

HOME_VARIABLE = "DATAHARVEST_HOME"
SECRET_BYTES = 20


@dataclass
class State:
    """The remembered facts of a stack; kept as JSON in ``state.json``."""

    ports: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    processes: dict[str, dict[str, str | int]] = field(default_factory=dict)
    """Per service the identity of the process that was started; taken away again when it is stopped on purpose."""

    facts: dict[str, str] = field(default_factory=dict)
    """Other decisions made once, for example where a data directory had to be put."""


class StackHome:
    """The folder of one stack (``DATAHARVEST_HOME``)."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))
        self.environment_path = self.path / "stack.env"
        self._state_path = self.path / "state.json"

    def make(self) -> None:
        """Make the folder and its folder for logs."""
        self.logs.mkdir(parents=True, exist_ok=True)

    @property
    def logs(self) -> Path:
        """The folder of the services' logs."""
        return self.path / "logs"

    def log(self, service: str) -> Path:
        """The log of one service."""
        return self.logs / f"{service}.log"

    def lock(self) -> AbstractContextManager[int]:
        """Held by whoever starts or stops services of this stack."""
        return locked(self.path / "stack.lock")

    def state(self) -> State:
        """The remembered facts; empty for a stack that was never up.

        Raises:
            Misconfigured: the file that holds them is damaged.
        """
        try:
            return State(**json.loads(self._state_path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return State()
        except (ValueError, TypeError) as error:
            raise Misconfigured(f"{self._state_path} is damaged; remove {self.path} to start from nothing") from error

    @contextmanager
    def changing(self) -> Iterator[State]:
        """The remembered facts, kept when the block ends without an error. Only under ``lock``."""
        state = self.state()
        yield state
        write_atomically(self._state_path, json.dumps(asdict(state), indent=1, sort_keys=True))

    def secret(self, name: str) -> str:
        """A random secret of this stack, made on first use. Only under ``lock`` when it may be absent."""
        known = self.state().secrets.get(name)
        if known is not None:
            return known
        with self.changing() as state:
            state.secrets[name] = secrets.token_hex(SECRET_BYTES)
            return state.secrets[name]

    def recorded(self, service: str) -> Identity | None:
        """The process that was last started for ``service`` and not stopped on purpose, running or not."""
        record = self.state().processes.get(service)
        return None if record is None else Identity(int(record["pid"]), str(record["birth"]))

    def record(self, service: str, identity: Identity | None) -> None:
        """Remember the process of ``service``; None forgets it. Only under ``lock``."""
        with self.changing() as state:
            state.processes.pop(service, None)
            if identity is not None:
                state.processes[service] = {"pid": identity.pid, "birth": identity.birth}


def home_from_environment() -> Path:
    """``DATAHARVEST_HOME``, or ``.dataharvest`` in the working directory."""
    return Path(os.environ.get(HOME_VARIABLE, "") or ".dataharvest")
