"""The topics as documents: AsyncAPI 3, a JSON Schema for each, and a page for people; all written from ``topics/``."""

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from dataharvest.topics import Role, Topic

SCHEMA_FORMAT = "application/schema+json;version=2020-12"
_BINDING = "0.5.0"
_DAY_MS = 86_400_000
_ACTIONS: Mapping[Role, tuple[str, ...]] = {
    "inbound": ("receive",),
    "internal": ("send", "receive"),
    "outbound": ("send",),
    "shared": ("send", "receive"),
}
"""What DataHarvest does with a topic, as AsyncAPI calls it."""
_TRACEPARENT = {
    "type": "string",
    "description": "W3C Trace Context of the span that sent the message; only while traces are switched on",
}


def documents(topics: Mapping[str, Topic]) -> dict[str, str]:
    """Every document by its path below the documents' folder; the same topics give the same text."""
    schemas = {_schema_path(topic): _as_json(_schema(topic)) for topic in topics.values()}
    return {"README.md": page(topics), "asyncapi.yaml": _as_yaml(asyncapi(topics)), **schemas}


def outdated(topics: Mapping[str, Topic], folder: Path) -> list[str]:
    """Documents of the folder that are missing or not what ``topics/`` says, and schemas of topics that are no more."""
    wanted = documents(topics)
    differing = [path for path, text in wanted.items() if not _says(folder / path, text)]
    left_over = [f"schemas/{one.name}" for one in sorted(folder.glob("schemas/*.json")) if f"schemas/{one.name}" not in wanted]
    return differing + left_over


def write_documents(topics: Mapping[str, Topic], folder: Path) -> list[str]:
    """Bring the folder up to date; the documents that changed."""
    changed, wanted = outdated(topics, folder), documents(topics)
    for path in changed:
        if path in wanted:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(wanted[path], "utf-8")
        else:
            (folder / path).unlink()
    return changed


def asyncapi(topics: Mapping[str, Topic]) -> dict[str, Any]:
    """The AsyncAPI 3.0 document; its payloads refer to the JSON Schemas beside it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "DataHarvest",
            "version": version("dataharvest"),
            "description": "`receive` is what DataHarvest reads, `send` what it writes; a topic with both is internal.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(topic) for name, topic in topics.items()},
        "operations": dict(_operations(topics)),
        "components": {"messages": {name: _message(topic) for name, topic in topics.items()}},
    }


def page(topics: Mapping[str, Topic]) -> str:
    """The topics for people, as Markdown."""
    lines = [
        "# Topics",
        "",
        "Written by `dataharvest topics doc` from the files in [topics/](../../topics); [asyncapi.yaml](asyncapi.yaml) says the",
        "same as AsyncAPI 3, `schemas/` as JSON Schema of each message's value.",
        "",
        "| topic | for | key | partitions | kept | producer | consumer |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(topic) for topic in topics.values()]
    for topic in topics.values():
        example = json.dumps(topic.examples[0].value, ensure_ascii=False)
        lines += ["", f"## {topic.name}", topic.description.strip(), "", "```json", example, "```"]
    return "\n".join(lines) + "\n"


def _row(topic: Topic) -> str:
    key, producer, consumer = (text.replace("|", "\\|") for text in (topic.key, topic.producer, topic.consumer))
    retention_ms = topic.config.get("retention.ms")
    kept = f"{int(retention_ms) // _DAY_MS} days" if retention_ms else "newest of each key"
    cells = (f"[{topic.name}]({_schema_path(topic)})", topic.role, key, topic.partitions, kept, producer, consumer)
    return f"| {' | '.join(map(str, cells))} |"


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": topic.description.strip(),
        "messages": {topic.name: {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {
            "kafka": {"partitions": topic.partitions, "topicConfiguration": _configuration(topic), "bindingVersion": _BINDING}
        },
    }


def _configuration(topic: Topic) -> dict[str, Any]:
    numbers = {name: int(value) for name, value in topic.config.items() if name.endswith(("ms", "bytes"))}
    return {**topic.config, **numbers, "cleanup.policy": topic.config["cleanup.policy"].split(",")}


def _operations(topics: Mapping[str, Topic]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, topic in topics.items():
        for action in _ACTIONS[topic.role]:
            who = topic.producer if action == "send" else topic.consumer
            operation = {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "summary": f"By: {who}"}
            yield f"{action}.{name}", operation


def _message(topic: Topic) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": topic.name,
        "contentType": topic.content_type,
        "headers": {"type": "object", "properties": {"traceparent": _TRACEPARENT}},
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"./{_schema_path(topic)}"}},
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": _BINDING}},
    }
    # An example is an object in AsyncAPI; a deleted key is none.
    examples = [{"payload": one.value} for one in topic.examples if isinstance(one.value, dict)]
    return message | {"examples": examples}


def _schema(topic: Topic) -> dict[str, Any]:
    said = dict(topic.value_schema)
    head = {"$schema": said.pop("$schema"), "$id": f"urn:dataharvest:topic:{topic.name}", "title": topic.name}
    return {**head, "description": topic.description.strip(), **said, "examples": [one.value for one in topic.examples]}


def _schema_path(topic: Topic) -> str:
    return f"schemas/{topic.name}.json"


def _says(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


def _as_json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _as_yaml(document: object) -> str:
    head = "# Written by `dataharvest topics doc` from topics/; not to be edited.\n"
    return head + yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=130)


class _Plain(yaml.SafeDumper):
    """Without anchors: a reader need not look elsewhere for what a schema says twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True
