"""Compare totals: whether the sender's control totals let the set go on; what keeps it is noted for the status."""

from collections.abc import Collection

from dataharvest.errors import Rejected
from dataharvest.ports import LockedSet
from dataharvest.rules.control_totals import (
    Agreement,
    ManifestRule,
    agreement,
    differences,
    problem_of,
    unusable_manifest,
    verdict,
)
from dataharvest.rules.needs import Rule
from dataharvest.rules.versions import SetView, is_publishing, newest_complete


async def compare_totals(locked: LockedSet, view: SetView, *, manifest_rule: ManifestRule, rules: Collection[Rule]) -> Agreement:
    """Whether the set may go on: nothing new is made or published while its newest files are not what the manifest says."""
    newest = {entity: one.delivery_id for entity, one in newest_complete(view.deliveries).items()}
    published = any(one.state == "published" or is_publishing(one, rules=rules) for one in view.versions)
    try:
        manifest = await locked.manifest() if manifest_rule != "none" and view.has_manifest else None
    except Rejected as reason:
        unusable = unusable_manifest(reason.message, published=published, deliveries=newest)
        await locked.set_totals_problem(unusable)
        return agreement(unusable, None, newest)
    found = differences(manifest, await locked.totals(newest.values())) if manifest else []
    problem = problem_of(verdict(manifest_rule, manifest, found, published=published), found, deliveries=newest)
    if problem is not None or view.is_totals_note_due:
        await locked.set_totals_problem(problem)
    put_at = await locked.manifest_put_at() if manifest else None
    is_last = put_at is not None and all(one.last_modified < put_at for one in view.deliveries)
    return agreement(problem, manifest, newest, is_last=is_last)
