"""The commands that repair a set or show how it goes on; what stands in capitals in them only whoever types them knows."""

import shlex
from collections.abc import Sequence

from dataharvest.rules.text import visible
from dataharvest.status import DeliveryStatus, RuleStatus, SetStatus, Why

GOES_ON = "Nothing has to be done; it goes on by itself."
_NAMED = 4
"""Files named one by one."""
_LETTERS_NAMED = 20
"""Dead letters named in one command."""


def selected(one: SetStatus) -> str:
    """The options that name the set."""
    return f"--tenant {shlex.quote(one.tenant)} --date {one.business_date}"


def goes_on(one: SetStatus, sentence: str) -> Why:
    """Nobody has to do anything."""
    return Why(sentence=sentence, remedy=GOES_ON, command=f"dataharvest status {selected(one)} --watch")


def upload(one: SetStatus, sentence: str, remedy: str, *, files: Sequence[str] = ()) -> Why:
    """Files have to be uploaded; ``files``: their object keys, as far as they are known."""
    command = f"dataharvest harvest FOLDER --tenant {shlex.quote(one.tenant)}"
    return Why(sentence=sentence, remedy=remedy, command=command, placeholders={"FOLDER": _folder(files)})


def fix(one: SetStatus, sentence: str, remedy: str) -> Why:
    """Records have to be corrected."""
    command = f"dataharvest quarantine fix --edit {selected(one)} --reason WHY"
    return Why(sentence=sentence, remedy=remedy, command=command, placeholders={"WHY": "your reason; it is kept in the history"})


def apply_contract(one: SetStatus, sentence: str) -> Why:
    """The contract has to be replaced."""
    tenant = shlex.quote(one.tenant)
    remedy = "Replace the contract; what waits goes on by itself then."
    command = f"dataharvest contract apply FILE --tenant {tenant}"
    return Why(sentence=sentence, remedy=remedy, command=command, placeholders={"FILE": "a file with the new contract, as YAML"})


def replay(sentence: str, lost: Sequence[DeliveryStatus | RuleStatus]) -> Why:
    """Dead letters have to be sent again, each by its name: a rule alone would choose those of all tenants.

    Those that somebody has discarded are named only when there are no others.
    """
    chosen = [each for each in lost if not each.dead_letter_is_discarded]
    remedy = "See why, repair it, and send it again; nothing does so by itself."
    if not chosen:
        remedy = "It was discarded, but the set does not go on without it: see why, repair it, and send it again by its name."
    names = letter_names(chosen or lost)
    count = sum(each.dead_letter_count for each in lost)
    if count > len(names):
        remedy = f"{remedy} These are the first {len(names):,} of {count:,}: ask again afterwards."
    return Why(sentence=sentence, remedy=remedy, command=f"dataharvest dead-letters replay {' '.join(names)}")


def letter_names(lost: Sequence[DeliveryStatus | RuleStatus]) -> list[str]:
    """What `dataharvest dead-letters` calls the first of the letters."""
    return [name for each in lost for name in each.dead_letter_names][:_LETTERS_NAMED]


def _folder(keys: Sequence[str]) -> str:
    names = [visible(key.rpartition("/")[2]) for key in keys]
    if not names:
        return "a folder with the files to be uploaded"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"a folder with {', '.join(names[:_NAMED])}{more} in it"
