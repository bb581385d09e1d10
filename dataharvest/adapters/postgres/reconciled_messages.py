"""The newest outbound messages of a set version, beside what its rows and values give now."""

from collections.abc import Iterable
from decimal import Decimal

from dataharvest.adapters.postgres.frames import read_values
from dataharvest.adapters.postgres.reconciled_batches import VersionAgain
from dataharvest.adapters.postgres.reconciled_values import amounts, summed, typed_sums
from dataharvest.adapters.postgres.sums import money_columns
from dataharvest.entities import all_entities
from dataharvest.messages import Batch
from dataharvest.outbound import OutboundMessage, all_outbound
from dataharvest.rules.outbound_messages import Envelope, LastMessage, changed_messages, content_sha256
from dataharvest.rules.statement import OutboundFigures, Unlike
from dataharvest.rules.values_compared import united, unlike
from dataharvest.sql import queries
from dataharvest.stages.publish import contents_of
from dataharvest.transformers import all_transformers

_SQL = queries("reconciliation")


async def outbound_figures(version: VersionAgain) -> tuple[OutboundFigures, ...]:
    """One for each kind of message, in order of topic."""
    return tuple([await _messages(version, one) for one in all_outbound().values()])


async def _messages(version: VersionAgain, message: OutboundMessage) -> OutboundFigures:
    which = (*version.key, message.name, version.number)
    [counts] = await version.connection.fetch(_SQL["message_counts"], *which)
    taken = {name: all_transformers()[source] for source, names in message.takes.items() for name in names}
    copied = _copied_money(message)
    numbers = {name for one in taken.values() for name in summed(one)} & taken.keys()
    named = [name for name in message.fields if name in numbers or any(name in names for names in copied.values())]
    money = {name for name in named if name not in taken or name in amounts(taken[name])}
    is_done = message.rule.provides in version.facts
    is_other_logic = await version.is_other_logic(message)
    takes_other_logic = any([await version.is_other_logic(all_transformers()[name]) for name in message.takes])
    is_compared = is_done and not (is_other_logic or takes_other_logic or version.is_other_edition)
    return OutboundFigures(
        topic=message.topic,
        is_done=is_done,
        takes=message.takes,
        copied_sums={
            name: await _copied(version, message, name, columns)
            for name, columns in copied.items()
            if not version.is_other_edition
        },
        sums=typed_sums(await version.connection.fetch(_SQL["message_sums"], *which, named), money),
        unlike=united([await _unlike(version, message, batch) for batch in version.batches(message)]) if is_compared else None,
        is_other_logic=is_other_logic,
        **dict(counts),
    )


async def _unlike(version: VersionAgain, message: OutboundMessage, batch: Batch) -> Unlike:
    """Messages of the batch that would be sent if they were made today."""
    frames = await version.frames(message, batch)
    values = await read_values(version.connection, message.takes, opened=version.opened, batch=batch)
    contents = contents_of(message.build(**frames, values=values), message)
    which = (*version.key, message.name, version.number, batch.batch, batch.batch_count)
    newest = {
        row["reference"]: LastMessage(row["message_id"], content_sha256(row["payload"]), row["withdrawn"])
        for row in await version.connection.fetch(_SQL["newest_messages"], *which)
    }
    envelope = Envelope(*version.key, version.number, message.name, message.reference_field)
    return unlike(one.reference for one in changed_messages(contents, last=newest, envelope=envelope))


def _copied_money(message: OutboundMessage) -> dict[str, list[str]]:
    """Money columns that the message reads and sends under the same name, by entity."""
    money = {name: set(money_columns(all_entities()[name])) for name in message.reads}
    found = {name: [one for one in columns if one in money[name] & {*message.fields}] for name, columns in message.reads.items()}
    return {name: columns for name, columns in found.items() if columns}


async def _copied(version: VersionAgain, message: OutboundMessage, name: str, columns: Iterable[str]) -> dict[str, Decimal]:
    entity = all_entities()[name]
    sums = ", ".join(f"coalesce(sum(r.{column}), 0)::text AS {column}" for column in columns)
    source = f"{entity.table} r WHERE r.delivery_id = $1"
    arguments = [version.opened.delivery_of(name)]
    if name != f"{message.per}s":
        # A row goes into every message that it is linked to: the account of two portfolios into both.
        shared = ", ".join(entity.linked)
        keys = f"(SELECT DISTINCT {message.per}_reference AS receiver, {shared} FROM link WHERE set_version_id = $2) l"
        source = f"{keys} JOIN {entity.table} r USING ({shared}) WHERE r.delivery_id = $1"
        arguments.append(version.opened.set_version_id)
    row = await version.connection.fetchrow(f"SELECT {sums} FROM {source}", *arguments)
    assert row is not None
    return {column: Decimal(text) for column, text in row.items()}
