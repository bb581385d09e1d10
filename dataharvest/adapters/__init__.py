"""The outside world behind ports: S3, PostgreSQL, Kafka, and fakes of them."""
