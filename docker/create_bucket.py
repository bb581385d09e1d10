"""Makes the bucket of the settings, with versions kept; doing it again changes nothing."""

from typing import TYPE_CHECKING

from dataharvest.adapters.s3 import s3_client
from dataharvest.settings import Settings, load_settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def create_bucket(settings: Settings) -> None:
    """Create the bucket if it is missing and switch versioning on."""
    client = _client(settings)
    if settings.s3_bucket not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=settings.s3_bucket)
    client.put_bucket_versioning(Bucket=settings.s3_bucket, VersioningConfiguration={"Status": "Enabled"})


def _client(settings: Settings) -> "S3Client":
    keys = (settings.s3_access_key, settings.s3_secret_key)
    access_key, secret_key = (key.get_secret_value() if key else None for key in keys)
    return s3_client(
        endpoint_url=settings.s3_endpoint_url, access_key=access_key, secret_key=secret_key, region=settings.s3_region
    )


if __name__ == "__main__":
    create_bucket(load_settings())
