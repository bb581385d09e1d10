"""What the page makes of moments, lengths, links and text."""

from datetime import UTC, date, datetime

import pytest

from dataharvest.board import BoardQuery, BoardRow, Cell
from dataharvest.rules.standing import State
from dataharvest.web.render import board_cells, board_link, clock, local, page, set_link, short, size_text, with_code

MOMENT = datetime(2026, 7, 1, 22, 30, 5, tzinfo=UTC)


def test_moments_are_shown_in_the_tenants_zone_with_its_date() -> None:
    assert local(MOMENT, "Europe/Berlin") == "02 Jul 2026, 00:30:05"
    assert short(MOMENT, "America/New_York") == "01 Jul 18:30:05"
    assert clock(MOMENT, "UTC") == "22:30:05"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (9_999, "9,999 B"), (12_345, "12.3 kB"), (5_000_000, "5.0 MB"), (10_500_000_000, "10.5 GB")],
)
def test_lengths_are_short(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


def test_a_link_to_the_board_says_only_what_is_not_usual_and_begins_at_the_first_page() -> None:
    query = BoardQuery(tenant="a&b", days=30, page=4)

    assert board_link(BoardQuery()) == "/"
    assert board_link(query) == "/?tenant=a%26b&days=30"
    assert board_link(query, state="blocked") == "/?tenant=a%26b&state=blocked&days=30"
    assert board_link(query, page=5) == "/?tenant=a%26b&days=30&page=5"


def test_names_from_outside_stay_inside_their_links() -> None:
    cell = Cell(state=State.BLOCKED, version=None, late=False)
    hostile = BoardRow(tenant='"><script>', cells=[cell])

    assert set_link("a/b?c", date(2026, 7, 1)) == "/sets/a%2Fb%3Fc/2026-07-01"
    assert "<script>" not in board_cells(hostile, ["2026-07-01"])


def test_every_text_is_escaped_and_shows_what_is_unseen_without_being_told_to() -> None:
    shown = page("failure.html", {"title": "x", "message": "<i>\u202egpj", "status": 404})

    assert b"&lt;i&gt;\\u202egpj" in shown.body


def test_what_stands_between_backticks_is_code_and_nothing_else_is_markup() -> None:
    assert with_code("use `dataharvest <x>` & go") == "use <code>dataharvest &lt;x&gt;</code> &amp; go"
    assert with_code("<b>no</b>") == "&lt;b&gt;no&lt;/b&gt;"
