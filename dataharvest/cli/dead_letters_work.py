"""What the commands of `dataharvest dead-letters` do to the letters that were named or chosen."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from dataharvest.cli.asking import opened_database
from dataharvest.errors import Rejected

if TYPE_CHECKING:
    from dataharvest.ports import Resender
    from dataharvest.replaying.dead_letters import DeadLetter, DeadLetterBox, Outcome, State


async def act_on(
    box: "DeadLetterBox",
    sender: "Resender",
    names: Sequence[str],
    choice: dict[str, Any],
    act: Any,
    *,
    plan: "dict[State, str] | None",
) -> "list[Outcome]":
    """What became of the letters that were named, or of the open ones chosen; with a plan (by their state), what would."""
    from dataharvest.replaying.dead_letters import LetterChoice, Outcome

    letters = await (letters_named(box, names) if names else box.find(LetterChoice(state="open", **choice)))
    if plan is not None:
        sentences = [plan.get(one.state, f"would be left alone: it is {one.state}") for one in letters]
        return [Outcome(one.position, False, f"{one.name} {text}") for one, text in zip(letters, sentences, strict=True)]
    outcomes = []
    for one in letters:
        try:
            outcomes.append(await act(one.position, box, sender))
        except Rejected as reason:
            # The bytes of one are gone; the others can still be sent.
            outcomes.append(Outcome(one.position, False, reason.message, failed=True))
    return outcomes


async def nothing_open(box: "DeadLetterBox", choice: dict[str, Any]) -> str:
    """A sentence for a choice of no open letter: what has become of those that were."""
    from dataharvest.replaying.dead_letters import LetterChoice

    settled = Counter(one.state for one in await box.find(LetterChoice(**choice)))
    if not settled:
        return "no dead letter is meant"
    became = " and ".join(f"{count:,} {'was' if count == 1 else 'were'} {state}" for state, count in sorted(settled.items()))
    return f"no open dead letter is meant: {became} before; `dataharvest dead-letters history` says by whom"


async def require_rule(box: "DeadLetterBox", rule: str | None) -> None:
    """Wrong usage when no message can have broken a rule of this name: a slip of the pen is not "no dead letters"."""
    from dataharvest.replaying.dead_letters import LetterChoice
    from dataharvest.rules.rejections import REJECTIONS, names_a_rejection

    if rule is None or names_a_rejection(rule):
        return
    # A transformer that was installed has rules of its own.
    broken = {one.rule for one in await box.find(LetterChoice())}
    if rule not in broken:
        known = (
            f"the letters there are broke {', '.join(sorted(broken))}" if broken else f"there are {', '.join(sorted(REJECTIONS))}"
        )
        raise click.BadParameter(f"no rule of a message is called {rule!r}; {known}", param_hint="'--rule'")


async def letters_named(box: "DeadLetterBox", names: Iterable[str]) -> "list[DeadLetter]":
    """The letters of these names, in order; wrong usage when one is unknown."""
    from dataharvest.replaying.dead_letters import LetterChoice, position_named

    try:
        positions = list(dict.fromkeys(position_named(name) for name in names))
    except Rejected as reason:
        raise click.UsageError(reason.message) from reason
    found = {one.position: one for one in await box.find(LetterChoice(positions=positions))}
    if missing := [position for position in positions if position not in found]:
        unknown = ", ".join(":".join(map(str, one)) for one in missing)
        raise click.UsageError(f"there is no dead letter {unknown}; `dataharvest dead-letters list --state all` shows them")
    return [found[one] for one in positions]


async def with_box(work: "Callable[[DeadLetterBox, Resender], Awaitable[Any]]") -> Any:
    """Do this with the dead letters and what sends them again, closed afterwards."""
    from dataharvest.adapters.dead_letters import StoredDeadLetters
    from dataharvest.adapters.kafka import KafkaSender
    from dataharvest.adapters.kafka_log import KafkaLog
    from dataharvest.settings import load_settings

    broker = load_settings().broker
    sender = KafkaSender(broker)
    try:
        async with opened_database(name="dead-letters") as database:
            return await work(StoredDeadLetters(database, KafkaLog(broker)), sender)
    finally:
        await sender.close()
