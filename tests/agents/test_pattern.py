"""The safe pattern holds for every agent there is: what would lose events by default is found nowhere."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import dataharvest
from dataharvest import pipeline
from dataharvest.app import HarvestApp, build_app
from dataharvest.replaying.requests import REPLAYABLE
from dataharvest.settings import Settings
from dataharvest.topics import load_topics

PACKAGE = Path(dataharvest.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_CALLS = {"take", "take_events", "take_with_timestamp", "group_by", "through", "cast", "ask", "send_soon", "send_nowait"}
FORBIDDEN_ARGUMENTS = {"sink", "concurrency", "stream_publish_on_commit", "processing_guarantee", "broker_max_poll_records"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> HarvestApp:
    """The real application; nothing is contacted before it starts."""
    given = {
        "broker": "127.0.0.1:1",
        "database_url": "postgresql://u:p@127.0.0.1:1/d",
        "s3_bucket": "b",
        "s3_access_key": "a",
        "s3_secret_key": "s",
        "data_dir": tmp_path_factory.mktemp("data"),
    }
    return build_app(Settings.model_validate(given))


def agents_of(app: HarvestApp) -> list[Any]:
    app.finalize()
    return list(app.agents.values())


def test_stages_and_topics_that_commands_offer_are_those_of_the_agents(app: HarvestApp) -> None:
    assert tuple(agent.name.rpartition(".")[2] for agent in agents_of(app)) == pipeline.STAGES
    assert pipeline.CONSUMED == REPLAYABLE


def test_there_is_one_agent_for_each_topic_that_is_consumed(app: HarvestApp) -> None:
    topics = sorted(topic for agent in agents_of(app) for topic in agent.channel.topics)
    assert topics == sorted(pipeline.CONSUMED)
    assert set(topics) <= set(load_topics())


def test_every_agent_takes_raw_bytes_one_at_a_time_for_each_partition(app: HarvestApp) -> None:
    for agent in agents_of(app):
        channel = agent.channel
        assert (channel.key_type, channel.value_type) == (bytes, bytes), agent.name
        assert (channel.schema.key_serializer, channel.schema.value_serializer) == ("raw", "raw"), agent.name
        assert agent.isolated_partitions, agent.name
        assert agent.concurrency == 1, agent.name
        assert not list(agent._sinks), agent.name


def test_few_of_the_large_messages_wait_in_memory(app: HarvestApp) -> None:
    channels = {topic: agent.channel for agent in agents_of(app) for topic in agent.channel.topics}
    sizes = {topic: channel.clone(is_iterator=True).queue.maxsize for topic, channel in channels.items()}
    assert sizes == {"uploads": 32, "chunks": 4, "progress": 32, "readiness": 32, "work": 32, "notifications": 32}


def test_the_application_is_set_up_as_measured(app: HarvestApp) -> None:
    expected = {
        "web_enabled": False,
        "topic_disable_leader": True,
        "broker_session_timeout": 10,
        "broker_heartbeat_interval": 2,
        "broker_rebalance_timeout": 60,
        "broker_commit_interval": 0.5,
        "broker_max_poll_interval": 86_400,
        "producer_max_request_size": 4 << 20,
        "table_standby_replicas": 0,
        "consumer_group_instance_id": None,
        "stream_publish_on_commit": False,
    }
    assert {name: getattr(app.conf, name) for name in expected} == expected
    assert app.conf.broker_max_poll_records is None
    assert app.conf.processing_guarantee.value == "at_least_once"
    assert str(app.conf.store) == "rocksdb:"
    assert not app.boot_strategy.enable_web


def test_the_table_shares_the_partitions_of_the_topic_it_is_filled_from(app: HarvestApp) -> None:
    app.finalize()
    [table] = app.tables.values()
    topics = load_topics()
    assert table.partitions == topics[pipeline.TABLE_TOPIC].partitions == topics["dataharvest-sets-changelog"].partitions
    assert (table.name, table.key_type) == (pipeline.TABLE_NAME, bytes)


def agent_bodies() -> list[ast.AsyncFunctionDef]:
    tree = ast.parse(inspect.getsource(pipeline))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef) and any("agent" in ast.unparse(one) for one in node.decorator_list)
    ]


def test_every_agent_s_body_is_the_delivery_of_its_stream_and_nothing_else(app: HarvestApp) -> None:
    bodies = agent_bodies()
    assert len(bodies) == len(agents_of(app))
    for body in bodies:
        *prepared, last = body.body
        assert ast.unparse(last).startswith("await delivery.run(stream, handle, stage="), body.name
        for statement in prepared:
            named = statement.name if isinstance(statement, ast.AsyncFunctionDef) else ast.unparse(statement).partition(" =")[0]
            assert named == "handle", body.name
        assert ast.unparse(body).count("stream") == ast.unparse(body.args).count("stream") + 1, body.name


def test_agents_are_made_in_the_pipeline_and_nowhere_else() -> None:
    assert [path.name for path, node in nodes() if isinstance(node, ast.Attribute) and node.attr == "agent"] == [
        "pipeline.py"
    ] * 6


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in SOURCES:
        yield from ((path, node) for node in ast.walk(_tree(path)))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_nothing_that_acknowledges_early_or_sends_without_waiting_is_used() -> None:
    # Elsewhere the words are those of frames and of our own; imports of Faust are checked by import-linter.
    for path, node in nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            forbidden = FORBIDDEN_CALLS if _knows_faust(path) else {"send_soon", "send_nowait"}
            assert node.func.attr not in forbidden, f"{path.name}:{node.lineno}"


def test_no_agent_or_application_asks_for_what_loses_events() -> None:
    for path, node in nodes():
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "app.agent",
            "HarvestApp",
            "faust.App",
            "app.topic",
            "app.Table",
        }:
            assert not {one.arg for one in node.keywords} & FORBIDDEN_ARGUMENTS, f"{path.name}:{node.lineno}"


@cache
def _knows_faust(path: Path) -> bool:
    imported = [ast.unparse(node) for node in ast.walk(_tree(path)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return any("import faust" in one or "from faust" in one for one in imported)


def test_every_handler_of_any_error_is_in_the_delivery() -> None:
    broad = {"Exception", "BaseException", "None"}
    found = {
        path.name
        for path, node in nodes()
        if isinstance(node, ast.ExceptHandler)
        for caught in (node.type.elts if isinstance(node.type, ast.Tuple) else [node.type])
        if (ast.unparse(caught) if caught else "None") in broad and not _raises_again(node)
    }
    assert found == {"delivery.py"}


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_nothing_suppresses_what_would_be_a_bug() -> None:
    for path, node in nodes():
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            shown = {ast.unparse(one) for one in node.args}
            assert not shown & {"AttributeError", "Exception", "BaseException", "TypeError", "KeyError"}, (
                f"{path.name}:{node.lineno}"
            )
