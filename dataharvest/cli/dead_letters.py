"""`dataharvest dead-letters`: look at rejected messages, send them again, lay them aside."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from dataharvest.cli import Failure
from dataharvest.cli.asking import CONSUMED_TOPIC, STAGE, NotEmpty, by_option, json_option, plan_option
from dataharvest.cli.dead_letters_work import act_on, letters_named, nothing_open, require_rule, with_box
from dataharvest.errors import Rejected

if TYPE_CHECKING:
    from dataharvest.ports import Position, Resender
    from dataharvest.replaying.dead_letters import DeadLetter, DeadLetterBox, Outcome, State


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that no stage could take: look at them, send them again, or lay them aside."""


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--rule", help="Only those that broke this rule."),
        click.option("--stage", type=STAGE, help="Only those of this stage."),
        click.option("--topic", type=CONSUMED_TOPIC, help="Only those of this topic."),
    ):
        command = option(command)
    return command


@dead_letters.command("list")
@_choosing
@click.option("--state", type=click.Choice(["open", "replayed", "discarded", "all"]), default="open", show_default=True)
@json_option
def list_letters(topic: str | None, stage: str | None, rule: str | None, state: str, as_json: bool) -> None:
    """Show rejected messages: how many of each kind, then each with its reason."""
    from dataharvest.cli.letter_text import as_row, line_of
    from dataharvest.replaying.dead_letters import LetterChoice

    choice = LetterChoice(topic=topic, stage=stage, rule=rule, state=None if state == "all" else state)  # type: ignore[arg-type]

    async def look(box: "DeadLetterBox", _: "Resender") -> "list[DeadLetter]":
        await require_rule(box, rule)
        return await box.find(choice)

    found = asyncio.run(with_box(look))
    if as_json:
        click.echo(json.dumps([as_row(one) for one in found], indent=1, ensure_ascii=False))
        return
    if not found:
        click.echo("no dead letters" if state == "all" else f"no {state} dead letters")
    for (stage_name, rule_name), count in sorted(Counter((one.stage, one.rule) for one in found).items()):
        click.echo(f"{count:,} of stage {stage_name}, rule {rule_name}")
    for one in found:
        click.echo(line_of(one))


@dead_letters.command("show")
@click.argument("name", metavar="TOPIC:PARTITION:OFFSET")
@click.option("--value", "copy", type=click.File("wb", lazy=True), help="Write the original bytes to this file; - is the output.")
@json_option
def show(name: str, copy: IO[bytes] | None, as_json: bool) -> None:
    """Show one message: its reason, key, headers and bytes, and what was done about it."""
    from dataharvest.cli.letter_text import full_text, with_content

    letter, history, content = asyncio.run(with_box(lambda box, _: _read(box, name)))
    if copy is not None and content is not None:
        copy.write(content.value or b"")
    if as_json:
        click.echo(json.dumps(with_content(letter, history, content), indent=1, ensure_ascii=False))
    else:
        click.echo(full_text(letter, history, content))
    if content is None:
        raise Failure(f"the bytes of {name} are gone: the topic dead-letters keeps them no longer")


async def _read(box: "DeadLetterBox", name: str) -> Any:
    [letter] = await letters_named(box, [name])
    try:
        content = await box.content(letter)
    except Rejected:
        content = None
    return letter, await box.history(letter.position), content


@dead_letters.command("replay")
@click.argument("names", nargs=-1, metavar="[TOPIC:PARTITION:OFFSET]…")
@click.option("--all", "every", is_flag=True, help="All open ones, or those that the options below choose.")
@_choosing
@by_option
@plan_option
@json_option
def replay(names: Sequence[str], by: str, is_plan: bool, as_json: bool, **choice: Any) -> None:
    """Send messages to their topics again, bytes, key and headers as they were; one that was replayed before is left alone.

    One that was discarded is sent again only when it is named.
    """
    from dataharvest.replaying.dead_letters import replay_letter

    states: tuple[State, ...] = ("open", "discarded") if names else ("open",)

    async def act(position: "Position", box: "DeadLetterBox", sender: "Resender") -> "Outcome":
        return await replay_letter(position, box=box, sender=sender, by=by, states=states)

    plan = dict.fromkeys(states, "would be sent again") if is_plan else None
    _do(names, choice, act, plan=plan, as_json=as_json)


@dead_letters.command("discard")
@click.argument("names", nargs=-1, metavar="[TOPIC:PARTITION:OFFSET]…")
@click.option("--all", "every", is_flag=True, help="All open ones, or those that the options below choose.")
@_choosing
@click.option("--reason", required=True, type=NotEmpty(), help="Why; kept in the history.")
@by_option
@plan_option
@json_option
def discard(names: Sequence[str], reason: str, by: str, is_plan: bool, as_json: bool, **choice: Any) -> None:
    """Lay messages aside: their bytes stay until the topic drops them, and nobody is reminded of them any more."""
    from dataharvest.replaying.dead_letters import discard_letter

    async def act(position: "Position", box: "DeadLetterBox", _: "Resender") -> "Outcome":
        return await discard_letter(position, box=box, by=by, reason=reason)

    _do(names, choice, act, plan={"open": "would be discarded"} if is_plan else None, as_json=as_json)


@dead_letters.command("history")
@click.argument("name", required=False, metavar="[TOPIC:PARTITION:OFFSET]")
@json_option
def history(name: str | None, as_json: bool) -> None:
    """Show who replayed or discarded what, when and why."""
    from dataharvest.cli.letter_text import action_line, as_action

    async def read(box: "DeadLetterBox", _: "Resender") -> Any:
        return await box.history((await letters_named(box, [name]))[0].position if name else None)

    found = asyncio.run(with_box(read))
    if as_json:
        click.echo(json.dumps([as_action(one) for one in found], indent=1, ensure_ascii=False))
        return
    for one in found:
        click.echo(action_line(one))
    if not found:
        click.echo("nothing was replayed or discarded")


def _do(names: Sequence[str], choice: dict[str, Any], act: Any, *, plan: "dict[State, str] | None", as_json: bool) -> None:
    every = choice.pop("every")
    if bool(names) == (every or any(choice.values())):
        raise click.UsageError("name the messages, or choose them with --all, --topic, --stage or --rule")

    async def work(box: "DeadLetterBox", sender: "Resender") -> "tuple[list[Outcome], str]":
        await require_rule(box, choice["rule"])
        outcomes = await act_on(box, sender, names, choice, act, plan=plan)
        return outcomes, "" if outcomes else await nothing_open(box, choice)

    outcomes, remark = asyncio.run(with_box(work))
    if as_json:
        rows = [{"message": ":".join(map(str, one.position)), "done": one.done, "outcome": one.sentence} for one in outcomes]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for one in outcomes:
            click.echo(one.sentence)
        if remark:
            click.echo(remark)
    if any(one.failed for one in outcomes):
        sys.exit(1)
