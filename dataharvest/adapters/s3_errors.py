"""What a failed S3 call means: trouble with one object, or a service that does not work."""

from collections.abc import Iterator
from contextlib import contextmanager

import urllib3.exceptions
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from dataharvest.errors import DataHarvestError, ObjectTrouble, Unavailable

BROKEN_TRANSPORT = (BotoCoreError, urllib3.exceptions.HTTPError, OSError)
"""What a connection or a body that breaks raises; botocore lets some of urllib3's own errors through."""

# Client errors by status that are the whole service's: credentials, clock, region, throttling.
_SERVICE_CODES = {
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "SignatureDoesNotMatch",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    # versitygw's word for an access key that it does not know; it comes as 404.
    "XAdminUserNotFound",
}
_SERVICE_STATUSES = {301, 307, 401, 408, 429}
# 405 is S3's answer for the version of a deletion; 416 that of an object that has become shorter.
_SAME_AS = {405: 404, 410: 404, 416: 412}
_WHY = {
    400: "S3 does not accept the request for it",
    403: "S3 forbids it",
    404: "it is gone",
    412: "another object is under the key now",
}


@contextmanager
def translated(bucket: str, key: str) -> Iterator[None]:
    """Let only Unavailable and ObjectTrouble out of a block that calls S3."""
    try:
        yield
    except ParamValidationError as error:
        raise _trouble(bucket, key, code=400) from error
    except ClientError as error:
        raise _meaning(error, bucket=bucket, key=key) from error
    except BROKEN_TRANSPORT as error:
        raise Unavailable(f"S3 does not answer: {error or type(error).__name__}", bucket=bucket, key=key) from error


def _meaning(error: ClientError, *, bucket: str, key: str) -> DataHarvestError:
    name = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if name in _SERVICE_CODES or status in _SERVICE_STATUSES or not 400 <= status < 500:
        return Unavailable(f"S3 refuses to work: {error}", bucket=bucket, key=key)
    return _trouble(bucket, key, code=_SAME_AS.get(status, status))


def _trouble(bucket: str, key: str, *, code: int) -> ObjectTrouble:
    why = _WHY.get(code, f"S3 answers {code}")
    return ObjectTrouble(f"{key!r} in bucket {bucket!r} cannot be used: {why}", code=code, bucket=bucket, key=key)
