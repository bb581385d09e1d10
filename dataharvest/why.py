"""Why a set is not further, in one sentence that names what is in the way, and the command that repairs it."""

from collections.abc import Callable, Mapping

from dataharvest.rules.causes import Cause
from dataharvest.rules.text import orphans_text, visible
from dataharvest.rules.versions import IN_PROGRESS
from dataharvest.status import DeliveryStatus, RuleStatus, SetStatus, Why
from dataharvest.why_batches import batches_done, lost_batches
from dataharvest.why_commands import GOES_ON, apply_contract, fix, goes_on, letter_names, replay, selected, upload
from dataharvest.why_files import absences, file_name, in_one_sentence, rejected, what_broke, what_it_does

_BY_ITSELF = frozenset(
    {
        Cause.VERSION_DUE,
        Cause.RELATING,
        Cause.COMPUTING,
        Cause.OLDER_VERSION_GOES_OUT,
        Cause.ABOUT_TO_GO_OUT,
        Cause.GOING_OUT,
    }
)
"""What a worker brings to its end without anybody's help."""


def why(one: SetStatus, *, worker_count: int | None) -> Why:
    """What keeps the set, and what to do about it.

    Args:
        one: the set; its own ``why`` is not looked at.
        worker_count: workers that are connected to the database; None when that is not known.
    """
    lost = [each for each in one.rules if each.dead_letter_count]
    if lost and one.cause in _BY_ITSELF:
        return _lost_batches(one, lost)
    found = _SENTENCES[one.cause](one)
    waits_for_a_worker = one.cause in _BY_ITSELF or (one.cause is Cause.DELIVERY_MOVES and found.remedy == GOES_ON)
    if waits_for_a_worker and worker_count == 0:
        sentence = f"{found.sentence} No worker is running."
        return Why(sentence=sentence, remedy="Start a worker.", command="dataharvest worker")
    return found


def _moves(one: SetStatus) -> Why:
    moving = [delivery for delivery in one.deliveries if delivery.state in IN_PROGRESS]
    if one.pause_reason is not None:
        reason = f" ({visible(one.pause_reason)})" if one.pause_reason else ""
        sentence = f"{file_name(moving[0])} waits because {one.tenant} is paused{reason}."
        return Why(sentence=sentence, remedy="Resume the tenant.", command=f"dataharvest tenant resume {one.tenant}")
    sentence = in_one_sentence(*map(what_it_does, moving), *absences(one))
    if any(delivery.contract_trouble for delivery in moving):
        return apply_contract(one, sentence)
    if lost := [each for each in moving if each.state != "waiting" and each.dead_letter_count]:
        return _lost_chunks(one, sentence, lost)
    if stuck := [each.file for each in moving if each.state == "waiting" or (each.state == "sealed" and each.failure)]:
        remedy = "It is tried again by itself; make the object readable, or upload the file again."
        return upload(one, sentence, remedy, files=stuck)
    return goes_on(one, sentence)


def _lost_chunks(one: SetStatus, sentence: str, lost: list[DeliveryStatus]) -> Why:
    if replayable := [each for each in lost if not each.dead_letter_is_discarded]:
        return replay(sentence, replayable)
    again = f"`dataharvest dead-letters replay {' '.join(letter_names(lost))}`"
    remedy = f"What was discarded does not come by itself: upload a corrected file, or let it be sent again, {again}."
    return upload(one, sentence, remedy, files=[each.file for each in lost])


def _unaccounted(one: SetStatus) -> Why:
    broken = [each for each in one.deliveries if each.state in IN_PROGRESS and (each.failure or {}).get("rule") == "conservation"]
    said = (f"{file_name(each)} does not add up: {visible(str((each.failure or {}).get('message')))}" for each in broken)
    remedy = "This is a fault of the program: keep its log, look at the statement, and upload the file again."
    return Why(sentence=in_one_sentence(*said), remedy=remedy, command=f"dataharvest reconcile {selected(one)}")


def _quarantine(one: SetStatus) -> Why:
    newest = {each.entity: each for each in one.deliveries if each.state == "complete"}
    said = [what_broke(each) for entity, each in newest.items() if f"quarantine of {entity}" in one.waits_for]
    remedy = "Correct these records with this command, or upload the corrected file."
    return fix(one, in_one_sentence(*said, *absences(one)), remedy)


def _file_missing(one: SetStatus) -> Why:
    remedy = "Correct the rejected file and upload it again." if any(rejected(one)) else "Ask the sender for it, and upload it."
    return upload(one, in_one_sentence(*absences(one)), remedy, files=list(one.missing_files.values()))


def _version_due(one: SetStatus) -> Why:
    return goes_on(one, f"All files are stored; version {(one.version or 0) + 1} is about to be made.")


def _manifest_missing(one: SetStatus) -> Why:
    unusable = [each for each in one.manifests if each.state == "rejected"]
    if unusable:
        message = visible(str((unusable[-1].failure or {}).get("message", "no reason kept")))
        sentence = f"The contract requires control totals, and {visible(unusable[-1].file)} can't be used: {message}"
        return upload(one, in_one_sentence(sentence), "Correct the manifest and upload it again.", files=[unusable[-1].file])
    key = f"{one.tenant}/manifest_{one.business_date:%Y%m%d}.json"
    sentence = f"The contract requires control totals, and {key} has not arrived."
    return upload(one, sentence, "Ask the sender for it, and upload it.", files=[key])


def _contract_unreadable(one: SetStatus) -> Why:
    return apply_contract(one, in_one_sentence(visible(str((one.problem or {}).get("message", one.reason)))))


def _control_totals(one: SetStatus) -> Why:
    if (one.problem or {}).get("rule") == "stored_manifest":
        sentence = in_one_sentence(visible(str((one.problem or {}).get("message"))))
        return upload(one, sentence, "Upload the manifest again.", files=[each.file for each in one.manifests[-1:]])
    files = [each for each in one.manifests if each.state == "read"]
    source = f"{visible(files[-1].file)} says something else than the files" if files else "Control totals differ from the files"
    message = visible(str((one.problem or {}).get("message", "no reason kept")))
    stands = f"; version {one.version} stands" if one.cause is Cause.CONTROL_TOTALS_DISPUTED and one.version else ""
    remedy = "Look at the statement, then upload the corrected file or manifest."
    sentence = in_one_sentence(f"{source}: {message}{stands}")
    return Why(sentence=sentence, remedy=remedy, command=f"dataharvest reconcile {selected(one)}")


def _version_blocked(one: SetStatus) -> Why:
    sentence = one.reason.rstrip(".")
    for kind in one.orphans:
        said = orphans_text(kind.count, kind.kind)
        sentence = sentence.replace(said, f"{said} ({', '.join(map(visible, kind.sample))})")
    allowed = ", ".join({"orphans": "orphans_block"}.get(rule, rule) for rule in one.waits_for)
    remedy = f"Correct the files and upload them again, or allow it: `dataharvest contract apply` with another `{allowed}`."
    return upload(one, in_one_sentence(f"{sentence[:1].upper()}{sentence[1:]}"), remedy)


def _relating(one: SetStatus) -> Why:
    done = batches_done(one.rules, one.waits_for)
    return goes_on(one, f"All files are stored; {', '.join(one.waits_for)} of version {one.version} comes next{done}.")


def _computing(one: SetStatus) -> Why:
    return goes_on(one, f"Version {one.version} waits for {', '.join(one.waits_for)}{batches_done(one.rules, one.waits_for)}.")


def _older_version(one: SetStatus) -> Why:
    older = ", ".join(one.waits_for).capitalize()
    return goes_on(one, f"{older} has begun to go out and finishes before version {one.version}.")


def _about_to_go_out(one: SetStatus) -> Why:
    return goes_on(one, f"Version {one.version} is computed; {', '.join(one.waits_for)} comes next.")


def _going_out(one: SetStatus) -> Why:
    named = ", ".join(one.waits_for) or "all messages"
    return goes_on(one, f"Version {one.version} goes out: {named}{batches_done(one.rules, one.waits_for)}.")


def _nothing(one: SetStatus) -> Why:
    return Why(
        sentence=f"Version {one.version} is published; nothing is in the way.",
        remedy="Nothing has to be done; the statement has every figure.",
        command=f"dataharvest reconcile {selected(one)}",
    )


_SENTENCES: Mapping[Cause, Callable[[SetStatus], Why]] = {
    Cause.RECORDS_UNACCOUNTED: _unaccounted,
    Cause.DELIVERY_MOVES: _moves,
    Cause.QUARANTINE: _quarantine,
    Cause.FILE_MISSING: _file_missing,
    Cause.VERSION_DUE: _version_due,
    Cause.MANIFEST_MISSING: _manifest_missing,
    Cause.CONTROL_TOTALS: _control_totals,
    Cause.CONTROL_TOTALS_DISPUTED: _control_totals,
    Cause.CONTRACT_UNREADABLE: _contract_unreadable,
    Cause.VERSION_BLOCKED: _version_blocked,
    Cause.RELATING: _relating,
    Cause.COMPUTING: _computing,
    Cause.OLDER_VERSION_GOES_OUT: _older_version,
    Cause.ABOUT_TO_GO_OUT: _about_to_go_out,
    Cause.GOING_OUT: _going_out,
    Cause.NOTHING: _nothing,
}


def _lost_batches(one: SetStatus, lost: list[RuleStatus]) -> Why:
    sentence = f"Version {one.version} waits for {', '.join(one.waits_for)}: {'; '.join(map(lost_batches, lost))}."
    return replay(sentence, lost)
