"""An assignment leaves no topic out, whatever the broker's metadata says just after a restart."""

from types import SimpleNamespace
from typing import Any

import pytest

from dataharvest.faust_repairs import CompleteAssignor

COUNTS = {"progress": 8, "chunks": 16}


class ForgetfulCluster:
    """Metadata that lacks ``progress``."""

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(16)) if topic == "chunks" else None


@pytest.fixture(autouse=True)
def known_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompleteAssignor, "partition_counts", COUNTS)


def groups(topics: set[str]) -> Any:
    subscriptions = SimpleNamespace(items=lambda: [("worker", sorted(topics))])
    return CompleteAssignor._get_copartitioned_groups(topics, ForgetfulCluster(), subscriptions)


def test_a_topic_that_the_metadata_lacks_is_assigned_all_the_same() -> None:
    found = {count: [set(topics) for topics in group] for count, group in groups({"progress", "chunks"}).items()}
    assert found == {8: [{"progress"}], 16: [{"chunks"}]}


def test_a_topic_that_nobody_knows_is_left_out() -> None:
    assert list(groups({"chunks", "strange"})) == [16]
