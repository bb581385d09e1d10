"""When an error says that this worker's own disk is full or broken: neither the message in hand nor the program is to blame."""

import errno
import logging
import os
import re
from typing import NoReturn

logger = logging.getLogger(__name__)

EXIT_DISK = 74
"""What a worker ends with then: its table has to be opened anew, once there is room. `sysexits.h` calls it EX_IOERR."""
_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
# RocksDB's binding raises a bare Exception, so its text is all there is to go by.
_ROCKSDB = re.compile(r"IO error: |No space left on device")


def is_disk_trouble(error: BaseException | None) -> bool:
    """Whether the error, or what it was raised from, comes from a disk that is full, broken or read-only."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _ERRNOS:
            return True
        if type(error) is Exception and _ROCKSDB.match(str(error)):
            return True
        error = error.__cause__
    return False


def stop_for_the_disk(where: str, error: BaseException) -> NoReturn:
    """End the process: its table takes nothing any more, also when there is room again, until it is opened anew.

    The message in hand is not to blame, however often this happens; it comes again.
    """
    logger.critical("disk of the tables is full or broken, the worker ends", extra={"where": where}, exc_info=error)
    logging.shutdown()
    os._exit(EXIT_DISK)
