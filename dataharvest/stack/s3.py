"""The embedded S3 server (versitygw), which publishes every change of a bucket to Kafka."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataharvest.stack import ports
from dataharvest.stack.service import Service
from dataharvest.stack.uploads_topic import UPLOADS
from dataharvest.stack.versitygw import gateway_program

BUCKET = "dataharvest"
REGION = "us-east-1"
BROKER = "s3_broker"
METADATA = "s3_metadata"
IN_ATTRIBUTES = "attributes"
IN_FILES = "files"


class S3(Service):
    """The object store of a stack. The broker must be ready before it starts: it publishes a test event at once."""

    name = "s3"
    port_names = ("s3",)
    program = "versitygw"

    @property
    def endpoint_url(self) -> str:
        """How clients connect."""
        return f"http://{self.address}"

    @property
    def _objects(self) -> Path:
        return self.directory / "objects"

    @property
    def _broker(self) -> str:
        return f"{ports.HOST}:{self.home.state().ports['kafka']}"

    def publishes_elsewhere(self) -> bool:
        """Whether it runs, but for a broker address that is no longer this stack's."""
        return self.identity is not None and self.home.state().facts.get(BROKER) != self._broker

    def prepare_data(self) -> None:
        """Make the folders, and decide once where the server keeps what it knows about an object."""
        for folder in ("objects", "versions", "metadata"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        with self.home.changing() as state:
            state.facts[BROKER] = self._broker
            if METADATA not in state.facts:
                state.facts[METADATA] = IN_ATTRIBUTES if keeps_attributes(self._objects) else IN_FILES

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        served = ["--port", f"{ports.HOST}:{self.port}", "--region", REGION, "--quiet", "--health", "/health"]
        published = ["--event-kafka-url", self._broker, "--event-kafka-topic", UPLOADS]
        kept = ["posix", "--versioning-dir", str(self.directory / "versions")]
        if self.home.state().facts[METADATA] == IN_FILES:
            kept += ["--sidecar", str(self.directory / "metadata")]
        return [str(gateway_program()), *served, *published, *kept, self.distinctive_argument()]

    def distinctive_argument(self) -> str:
        """The folder of this stack's buckets."""
        return str(self._objects)

    def process_environment(self) -> Mapping[str, str]:
        """Ours, with the keys, which everybody could read on a command line, and without other settings of the server."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("VGW_")}
        keys = {"ROOT_ACCESS_KEY_ID": self.access_key, "ROOT_SECRET_ACCESS_KEY": self.secret_key}
        return others | keys | {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}

    @property
    def access_key(self) -> str:
        """The name of the account that may do everything."""
        return self.home.secret("s3_access")

    @property
    def secret_key(self) -> str:
        """The password of that account."""
        return self.home.secret("s3_secret")

    def is_ready(self) -> bool:
        """Whether the bucket is there, made if needed, and keeps versions."""
        if "s3_bucket" not in self.home.state().facts:
            self._make_bucket()
            with self.home.changing() as state:
                state.facts["s3_bucket"] = BUCKET
        return True

    def _make_bucket(self) -> None:
        import boto3  # noqa: PLC0415

        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )
        if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        client.close()


def keeps_attributes(directory: Path) -> bool:
    """Whether the file system of ``directory`` keeps extended attributes."""
    try:
        os.setxattr(directory, "user.dataharvest", b"1")
    except (OSError, AttributeError):
        return False
    return True
