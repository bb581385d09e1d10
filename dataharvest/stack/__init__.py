"""The embedded Kafka, PostgreSQL and S3, run from Python packages alone."""

from dataharvest.stack.embedded import Stack
from dataharvest.stack.service import Service, ServiceState

__all__ = ["Service", "ServiceState", "Stack"]
