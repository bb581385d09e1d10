"""Every setting with its unit and meaning; read once, at the composition root."""

import os
from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from dataharvest.errors import Misconfigured

_PREFIX = "DATAHARVEST_"
APP_ID = "dataharvest"
"""Faust application and consumer group; the changelog's topic in ``topics/`` is named after it."""


class Settings(BaseSettings):
    """Settings of a worker, a splitter and the commands; the environment wins over ``stack.env``."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore", use_attribute_docstrings=True)

    broker: str
    """Kafka bootstrap addresses, `host:port[,host:port]`."""
    database_url: SecretStr
    """PostgreSQL, `postgresql://user:password@host:port/database`."""
    s3_bucket: str
    """Bucket that senders upload to."""
    s3_endpoint_url: str | None = None
    """Address of an S3 server other than AWS."""
    s3_access_key: SecretStr | None = None
    """Access key; without it boto3's own chain of credentials is used."""
    s3_secret_key: SecretStr | None = None
    """Secret key that goes with the access key."""
    s3_region: str = "us-east-1"
    """Region of the bucket."""
    sqs_url: str | None = None
    """SQS queue that receives the bucket's events; `dataharvest bridge` carries them to Kafka."""
    data_dir: Path | None = None
    """Where a worker keeps its table; by default below `DATAHARVEST_HOME`, a folder per worker."""
    chunk_bytes: int = Field(default=1_048_576, ge=1, le=3_500_000)
    """Soft size of a chunk, in bytes; twice that from files of 64 MiB on. Keep below the `chunks` topic's `max.message.bytes`."""
    max_content_bytes: int = Field(default=1 << 40, ge=1)
    """Longest file accepted, in bytes after decompression."""
    chunks_in_flight: int = Field(default=32, ge=1)
    """Chunks of one tenant sent and not yet stored, at most, of `chunk_bytes` on average; a quarter beside others' new sets."""
    bytes_beside_others: int | None = Field(default=None, ge=1)
    """Bytes of one tenant sent and not yet stored, at most, beside others' new sets; without it 2 MiB for each core here."""
    chunks_at_once: int = Field(default=3, ge=1)
    """Chunks that one worker stores at a time, tenants in turn; raise it where PostgreSQL has more cores than workers."""
    judgement_slice_rows: int = Field(default=1_000_000, ge=10_000, le=4_000_000)
    """Rows of one file that are counted at a time when it is judged, about; a file of no more rows is judged in one step."""
    split_concurrency: int = Field(default=12, ge=1)
    """Deliveries that one splitter reads side by side; a tenant's further files take at most half of the places."""
    split_niceness: int = Field(default=10, ge=0, le=19)
    """How far threads of `dataharvest split` that hash and pack step back behind other work: niceness, 0 for none; on Linux."""
    split_in_worker: bool = True
    """Whether a worker also splits; switch off where `dataharvest split` runs as a process of its own."""
    lease_s: float = Field(default=30.0, gt=0)
    """Length of a splitter's lease on a delivery, in seconds; renewed every third of it."""
    correction_settle_s: float = Field(default=5.0, ge=0)
    """Time without another file after which corrected files become a new set version, in seconds."""
    sweep_interval_s: float = Field(default=60.0, gt=0)
    """Time between two sweeps, in seconds."""
    replay_messages_per_s: float = Field(default=50.0, gt=0)
    """Messages that a replay sends per second, at most; `--rate` says otherwise for one."""
    replay_bytes_per_s: float = Field(default=8_388_608.0, gt=0)
    """Bytes that a replay sends per second, at most."""
    database_pool_size: int = Field(default=12, ge=2)
    """Connections to PostgreSQL per worker."""
    session_timeout_s: float = Field(default=10.0, gt=0)
    """Time after which Kafka hands over the partitions of a worker that went silent, in seconds."""
    webhook_key: SecretStr | None = Field(default=None, min_length=32)
    """Text that every tenant's webhook secret follows from, at least 32 characters; no webhook is called without it."""
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    """Port for Prometheus metrics of a worker or splitter, or the next free one of 31; 0 is any; off without it."""
    metrics_host: str = "127.0.0.1"
    """Address on which the port for metrics is open; whoever reaches it can read them, so by default only this machine."""
    traces_url: str | None = None
    """Collector that spans are sent to, OTLP over HTTP, for example `http://127.0.0.1:4318/v1/traces`; no spans without it."""
    watchdog_s: float = Field(default=900.0, ge=0)
    """Time without any sign of life after which a worker ends itself with exit code 75, in seconds; 0 for never."""
    log_format: str = Field(default="auto", pattern="^(auto|json|text)$")
    """`json`, `text`, or `auto`: text on a terminal, JSON elsewhere."""


def home() -> Path:
    """Folder of the embedded services' data, ports and logs: ``DATAHARVEST_HOME`` or ``.dataharvest`` here."""
    return Path(os.environ.get("DATAHARVEST_HOME", ".dataharvest")).resolve()


@cache
def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        Misconfigured: names every setting that is missing or wrong, in one sentence.
    """
    try:
        return Settings(_env_file=home() / "stack.env")
    except ValidationError as error:
        raise Misconfigured(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    problems = [f"{_PREFIX}{str(item['loc'][0]).upper()} ({item['msg'].lower()})" for item in error.errors()]
    return (
        f"Settings missing or wrong: {', '.join(problems)}; set them in the environment, "
        f"or run `dataharvest stack up`, which writes {home() / 'stack.env'}."
    )
