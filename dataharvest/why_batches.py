"""What a reason says of the batches in hand, and of those that were dead-lettered."""

from dataharvest.rules.text import counted
from dataharvest.status import RuleStatus


def lost_batches(rule: RuleStatus) -> str:
    """Which of a rule's batches were dead-lettered, and by which rule; part of a sentence."""
    count = rule.dead_letter_count
    what = f"{counted(count, 'batch', 'batches')} of {rule.rule} {'was' if count == 1 else 'were'}"
    return f"{what} dead-lettered ({rule.dead_letter_rule}){' and discarded' if rule.dead_letter_is_discarded else ''}"


def batches_done(rules: list[RuleStatus], names: list[str]) -> str:
    """How many batches of each of these rules are done; the end of a sentence, empty before the first is planned."""
    said = [f"{one.rule} {one.done:,} of {one.batch_count:,}" for one in rules if one.rule in names]
    return f" (batches done: {', '.join(said)})" if said else ""
