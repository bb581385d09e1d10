"""A set's standing under a contract that allows some records in quarantine."""

import pytest

from dataharvest.rules.standing import State, standing
from dataharvest.rules.versions import SetView
from tests.unit.test_status_standing import ENTITIES, RULES, delivery


@pytest.mark.parametrize(("quarantine", "state"), [(2, State.READY), (3, State.BLOCKED)])
def test_only_more_quarantine_than_the_contract_allows_blocks(quarantine: int, state: State) -> None:
    view = SetView(deliveries=(delivery(1, "accounts", quarantine=quarantine), delivery(2, "clients")), versions=())

    assert standing(view, required=ENTITIES, rules=RULES, quarantine_threshold=2).state == state
