"""What a message is about: remembered of a dead letter, so that nobody sends again what waits for a replay."""

from typing import NamedTuple

from pydantic import ValidationError

from dataharvest.errors import Rejected
from dataharvest.messages import ChunkMetadata, Judgement, decode_work


class Subject(NamedTuple):
    """The delivery that a message is about, and the chunk that it holds."""

    delivery_id: int | None = None
    chunk_index: int | None = None
    chunk_sha256: bytes | None = None


def subject_of(topic: str, value: bytes | None) -> Subject:
    """What a message of ``chunks`` or ``work`` is about; the records of a chunk are not looked at.

    Empty for a message that names no delivery or can't be read.
    """
    try:
        match topic:
            case "chunks":
                chunk = ChunkMetadata.model_validate_json((value or b"").partition(b"\n")[0])
                return Subject(chunk.delivery_id, chunk.index, bytes.fromhex(chunk.sha256))
            case "work":
                work = decode_work(value or b"")
                return Subject(work.delivery_id) if isinstance(work, Judgement) else Subject()
    except (Rejected, ValidationError, ValueError):
        pass
    return Subject()


def is_settled_by(rule: str) -> bool:
    """Whether a dead letter under this rule settles its chunk until a replay; damage on the way says nothing of the chunk."""
    return rule != "chunk_damaged"
