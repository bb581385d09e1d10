"""Topics as data: what each topic must be like, and how far a broker is from it."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveInt, ValidationError

from dataharvest.errors import Misconfigured

Role = Literal["inbound", "internal", "outbound", "shared"]


class Example(BaseModel):
    """A message as it travels; its value is the decoded JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str | None
    value: JsonValue


class Topic(BaseModel):
    """What one file in ``topics/`` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    role: Role = "internal"
    """Whether others write it, nobody else uses it, others read it, or others read it as we do."""
    content_type: str = "application/json"
    """Media type of a message's value."""
    key: str
    """How a message's key is made."""
    partitions: PositiveInt
    producer: str
    consumer: str
    config: dict[str, str]
    """Kafka's own settings of the topic; what is not named here is left to the broker."""
    value_schema: dict[str, Any] = Field(alias="schema")
    """JSON Schema of a message's value."""
    examples: list[Example]


@dataclass(frozen=True, kw_only=True)
class ExistingTopic:
    """A topic as the broker has it."""

    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    """Every setting that is in force, the broker's defaults included."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """The settings made for this topic alone."""


@dataclass(frozen=True, kw_only=True)
class CreateTopic:
    """The topic is missing."""

    topic: Topic

    @property
    def sentence(self) -> str:
        """What the change does, for a person."""
        return f"create {self.topic.name} with {self.topic.partitions} partitions"


@dataclass(frozen=True, kw_only=True)
class AddPartitions:
    """The topic has too few partitions."""

    name: str
    before: int
    after: int

    @property
    def sentence(self) -> str:
        """What the change does, for a person."""
        return f"raise {self.name} from {self.before} to {self.after} partitions (keys move: stop the workers first)"


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """Settings of the topic differ."""

    name: str
    before: Mapping[str, str | None]
    after: Mapping[str, str]
    overrides: Mapping[str, str]
    """All settings of the topic after the change; Kafka forgets those that a change does not name."""

    @property
    def sentence(self) -> str:
        """What the change does, for a person."""
        pairs = (f"{key} from {self.before[key] or 'unset'} to {value}" for key, value in sorted(self.after.items()))
        return f"set {self.name}: {', '.join(pairs)}"


@dataclass(frozen=True, kw_only=True)
class CannotChange:
    """The topic has too many partitions, and Kafka cannot take any away."""

    name: str
    before: int
    after: int

    @property
    def sentence(self) -> str:
        """What differs and why it stays so, for a person."""
        return (
            f"{self.name} differs and cannot be changed here: it has {self.before} partitions, {self.after} are needed, and"
            " Kafka never takes partitions away; delete the topic by hand once it is empty and apply again"
        )


Change = CreateTopic | AddPartitions | SetConfig | CannotChange


def topics_directory() -> Path:
    """Where the YAML files are: beside the package in a checkout, under the prefix's ``share`` when installed.

    Raises:
        Misconfigured: neither place has them.
    """
    checkout = Path(__file__).parent.parent / "topics"
    installed = Path(sys.prefix) / "share" / "dataharvest" / "topics"
    for directory in (checkout, installed):
        if (directory / "uploads.yaml").is_file():
            return directory
    raise Misconfigured(f"the topics' files are neither in {checkout} nor in {installed}: install dataharvest again")


@cache
def load_topics() -> dict[str, Topic]:
    """Every topic by name, in order of name.

    Raises:
        Misconfigured: a file is missing, not YAML, or lacks something.
    """
    topics = [_load(path) for path in sorted(topics_directory().glob("*.yaml"))]
    return {topic.name: topic for topic in topics}


def _load(path: Path) -> Topic:
    try:
        topic = Topic.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise Misconfigured(f"topic file {path.name} cannot be read: {error}") from error
    if topic.name != path.stem:
        raise Misconfigured(f"topic file {path.name} names the topic {topic.name}: the two must be the same")
    return topic


def difference(wanted: Iterable[Topic], existing: Mapping[str, ExistingTopic]) -> list[Change]:
    """The changes that make the broker's topics what they must be, in order of ``wanted``; none when all is well.

    Topics we do not know, and settings that a topic's file does not name, are left alone; nothing is ever deleted.
    """
    changes: list[Change] = []
    for topic in wanted:
        found = existing.get(topic.name)
        changes += [CreateTopic(topic=topic)] if found is None else _difference_of(topic, found)
    return changes


def _difference_of(topic: Topic, found: ExistingTopic) -> list[Change]:
    changes: list[Change] = []
    if found.partitions < topic.partitions:
        changes.append(AddPartitions(name=topic.name, before=found.partitions, after=topic.partitions))
    if found.partitions > topic.partitions:
        changes.append(CannotChange(name=topic.name, before=found.partitions, after=topic.partitions))
    after = {key: value for key, value in topic.config.items() if found.config.get(key) != value}
    if after:
        before = {key: found.config.get(key) for key in after}
        overrides = {**found.overrides, **topic.config}
        changes.append(SetConfig(name=topic.name, before=before, after=after, overrides=overrides))
    return changes


def verify(wanted: Iterable[Topic], existing: Mapping[str, ExistingTopic]) -> list[str]:
    """A sentence for each topic that is missing or has the wrong number of partitions; none when a worker may start."""
    sentences = []
    for topic in wanted:
        found = existing.get(topic.name)
        if found is None:
            sentences.append(f"topic {topic.name} is missing: run `dataharvest topics apply`")
        elif found.partitions != topic.partitions:
            has = f"topic {topic.name} has {found.partitions} partitions, {topic.partitions} are needed"
            sentences.append(f"{has}: {_remedy(topic, found)}")
    return sentences


def _remedy(topic: Topic, found: ExistingTopic) -> str:
    if found.partitions < topic.partitions:
        return "run `dataharvest topics apply`"
    return "Kafka takes no partitions away, so delete the topic by hand and run `dataharvest topics apply`"
