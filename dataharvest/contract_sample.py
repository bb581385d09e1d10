"""The beginning of a sender's file, as a check of it sees it."""

from collections.abc import Iterable
from dataclasses import dataclass

from dataharvest.contracts import Contract
from dataharvest.rules.decompression import decompressor_for
from dataharvest.rules.transcoding import transcoder_for

SAMPLE_BYTES = 1 << 20
"""How much of the content is looked at."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The beginning of a file's content, as plain UTF-8."""

    content: bytes
    is_whole: bool
    """Whether the content ends here."""


def sample_of(pieces: Iterable[bytes], *, name: str, contract: Contract) -> Sample:
    """The first MiB of what a file holds, decompressed by the ending of its name and decoded as the contract says.

    Raises:
        Rejected: the file can't be decompressed or decoded.
    """
    content = bytearray()
    decompressor, transcoder = decompressor_for(name, max_content_bytes=1 << 62), transcoder_for(contract.encoding)
    for piece in pieces:
        for data in decompressor.feed(piece):
            content += transcoder.feed(data)
            if len(content) > SAMPLE_BYTES:
                return Sample(content=bytes(content[:SAMPLE_BYTES]), is_whole=False)
    decompressor.finish()
    return Sample(content=bytes(content + transcoder.finish()), is_whole=True)
