"""The page and its API without a server: what they answer, refuse, and say about failures."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from dataharvest.adapters.memory_contracts import MemoryContracts
from dataharvest.adapters.memory_store import MemoryObjectStore
from dataharvest.board import Attention, Board, BoardQuery, BoardRow, Cell
from dataharvest.deliveries import SetKey
from dataharvest.errors import Unavailable
from dataharvest.measuring import Measured, Measuring
from dataharvest.rules.standing import State
from dataharvest.set_details import Leftovers, SetDetails
from dataharvest.status import Why
from dataharvest.web import application
from dataharvest.web.application import build_application
from dataharvest.web.parts import Parts
from dataharvest.web.pulse import Pulse
from dataharvest.web.shared_boards import SharedBoards

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
DAY = date(2026, 11, 23)
TEMPLATES = Path(application.__file__).parent / "templates"
WHY = Why(sentence="acme/<b>.csv, line 3 breaks rule money.", remedy="Correct it.", command="dataharvest worker")


class StillReader:
    """A reader of what never changes; ``outage`` makes it fail."""

    def __init__(self) -> None:
        self.outage = False
        self.beat = "1"
        self.read_count = 0
        self.waiting_count = 1

    async def pulse(self) -> str:
        if self.outage:
            raise Unavailable("PostgreSQL: it is not there")
        return self.beat

    async def board(self, query: BoardQuery) -> Board:
        self.read_count += 1
        row = BoardRow(tenant="acme", cells=[Cell(state=State.BLOCKED, version=None, late=True)])
        one = Attention(tenant="acme", business_date=DAY, state=State.BLOCKED, late_at=NOW, zone="UTC", why=WHY)
        waiting = [one.model_copy(update={"business_date": DAY - timedelta(days=days)}) for days in range(self.waiting_count)]
        return Board(
            at=NOW,
            query=query,
            dates=[DAY],
            rows=[row],
            totals=dict.fromkeys(State, 0) | {State.BLOCKED: 1},
            late_count=1,
            tenant_count=1,
            page_count=1,
            attention=waiting,
            attention_count=len(waiting),
            worker_count=1,
            dead_letter_count=0,
        )

    async def details(self, key: SetKey) -> SetDetails | None:
        return None

    async def leftovers(self, *, limit: int) -> Leftovers:
        return Leftovers(at=NOW, files=[], dead_letters=[], dead_letter_count=0)


@pytest.fixture
def reader() -> StillReader:
    return StillReader()


@pytest.fixture
def objects() -> MemoryObjectStore:
    return MemoryObjectStore(versioned=True)


class StillMeasured:
    """Measures two blocked sets, or nothing while it is away."""

    def __init__(self) -> None:
        self.is_away = False

    async def measure(self, *, window: timedelta) -> Measured:
        if self.is_away:
            raise Unavailable("PostgreSQL is away")
        return Measured(sets={"blocked": 2}, late_sets=0, lateness_s=0.0, quarantine_open=0, dead_letters=0, unfinished_s=0.0)

    async def lag(self) -> dict[str, int]:
        return {"chunks": 7}


@pytest.fixture
def measured() -> StillMeasured:
    return StillMeasured()


@pytest.fixture
async def client(reader: StillReader, objects: MemoryObjectStore, measured: StillMeasured) -> AsyncIterator[httpx.AsyncClient]:
    parts = Parts(
        reader=reader,
        boards=SharedBoards(reader),
        objects=objects,
        contracts=MemoryContracts(),
        bucket="b",
        pulse=Pulse(reader, interval_s=0.01, stopping=lambda: False),
        measuring=Measuring(measured, measured),
        max_content_bytes=1000,
    )
    transport = httpx.ASGITransport(build_application(parts, hosts=["page.test"]))
    async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as found:
        yield found


async def test_what_comes_from_outside_is_escaped(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text

    assert "acme/&lt;b&gt;.csv, line 3 breaks rule money." in page
    assert "<b>.csv" not in page


async def test_sets_that_wait_beyond_the_first_three_are_counted_and_not_called_less_urgent(
    client: httpx.AsyncClient, reader: StillReader
) -> None:
    reader.waiting_count = 5

    page = (await client.get("/")).text

    assert "<summary>2 more</summary>" in page
    assert "urgent" not in page


async def test_a_cell_says_its_tenant_date_and_state(client: httpx.AsyncClient) -> None:
    assert 'href="/sets/acme/2026-11-23" title="acme 2026-11-23: blocked, late"' in (await client.get("/")).text


async def test_asked_by_htmx_only_the_live_part_comes(client: httpx.AsyncClient) -> None:
    part = (await client.get("/", headers={"HX-Request": "true"})).text

    assert part.lstrip().startswith('<div id="live"')
    assert "<html" not in part


@pytest.mark.parametrize("path", ["/", "/leftovers", "/sets/acme/2026-11-23", "/api/board", "/static/page.css", "/nowhere"])
async def test_every_answer_forbids_what_is_not_its_own(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers

    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")


async def test_another_name_for_this_machine_is_not_answered(client: httpx.AsyncClient) -> None:
    assert (await client.get("/", headers={"Host": "evil.test"})).status_code == 400


@pytest.mark.parametrize("path", ["/api/sets/acme/2026-11-23", "/api/nowhere"])
async def test_what_is_not_there_is_a_404_as_json(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.status_code == 404
    assert answer.json()["message"]


async def test_what_is_not_there_is_a_404_as_a_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/sets/acme/2026-11-23")

    assert answer.status_code == 404
    assert "nothing of acme for 2026-11-23 has arrived or was due" in answer.text


@pytest.mark.parametrize("query", ["state=nonsense", "days=0", "until=yesterday", "page=x"])
async def test_a_question_that_makes_no_sense_is_a_422_with_a_sentence(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/api/board?{query}")

    assert answer.status_code == 422
    assert query.split("=", maxsplit=1)[0] in answer.json()["message"]


async def test_an_empty_field_of_the_form_is_no_mistake(client: httpx.AsyncClient) -> None:
    assert (await client.get("/?tenant=&state=&days=14&until=")).status_code == 200


async def test_an_outage_is_a_503_that_says_when_to_come_again(client: httpx.AsyncClient, reader: StillReader) -> None:
    reader.outage = True

    page, health = await client.get("/"), await client.get("/api/health")

    assert (page.status_code, health.status_code) == (503, 503)
    assert "it is not there" in page.text
    assert "data-retry" in page.text
    assert health.headers["retry-after"] == "5"


async def test_the_same_board_is_read_once_until_something_is_written(client: httpx.AsyncClient, reader: StillReader) -> None:
    for _ in range(3):
        await client.get("/api/board")
    assert reader.read_count == 1

    reader.beat = "2"
    await client.get("/api/board")
    assert reader.read_count == 2


async def test_an_upload_lies_in_the_bucket_under_its_name(client: httpx.AsyncClient, objects: MemoryObjectStore) -> None:
    answer = await client.put("/api/uploads/acme/in/accounts_20261123.csv", content=b"record_id\n")

    assert answer.json() == {
        "key": "acme/in/accounts_20261123.csv",
        "tenant": "acme",
        "business_date": "2026-11-23",
        "kind": "data",
        "entity": "accounts",
        "size_bytes": 10,
    }
    version = await objects.head("b", "acme/in/accounts_20261123.csv")
    assert version is not None
    assert b"".join([piece async for piece in objects.read(version)]) == b"record_id\n"


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("acme/notes.txt", "unknown_key_pattern"),
        ("acme/orders_20261123.csv", "unknown_entity"),
        ("acme/accounts_20261332.csv", "impossible_date"),
        ("a%20b/accounts_20261123.csv", "tenant_name"),
    ],
)
async def test_a_name_that_says_nothing_is_refused_and_nothing_is_stored(
    client: httpx.AsyncClient, objects: MemoryObjectStore, path: str, rule: str
) -> None:
    answer = await client.put(f"/api/uploads/{path}", content=b"x")

    assert (answer.status_code, answer.json()["rule"]) == (422, rule)
    assert (await objects.list_keys("b")).objects == ()


async def test_a_file_that_is_too_long_is_refused_with_and_without_a_length(
    client: httpx.AsyncClient, objects: MemoryObjectStore
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    told = await client.put("/api/uploads/acme/accounts_20261123.csv", content=b"x" * 1001)
    untold = await client.put("/api/uploads/acme/accounts_20261123.csv", content=pieces())

    assert (told.status_code, untold.status_code) == (413, 422)
    assert (await objects.list_keys("b")).objects == ()


async def test_another_site_can_not_upload_through_a_browser(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/uploads/acme/accounts_20261123.csv", content=b"x", headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403


async def test_the_api_describes_itself_with_a_sentence_for_each_path(client: httpx.AsyncClient) -> None:
    described = (await client.get("/api/openapi.json")).json()

    assert set(described["paths"]) == {
        "/api/board",
        "/api/sets/{tenant}/{business_date}",
        "/api/leftovers",
        "/api/events",
        "/api/health",
        "/api/uploads/{tenant}/{name}",
    }
    assert all(call["summary"] for path in described["paths"].values() for call in path.values())


@pytest.mark.parametrize("template", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_no_template_trusts_anything_or_loads_from_elsewhere(template: Path) -> None:
    text = template.read_text("utf-8")

    assert re.search(r"\|\s*safe|autoescape|https?://|style=|onclick|<script>|hx-on", text) is None


async def test_prometheus_is_answered_with_what_was_measured(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'dataharvest_sets{state="blocked"} 2.0' in answer.text
    assert 'dataharvest_lag_messages{topic="chunks"} 7.0' in answer.text


async def test_prometheus_is_answered_during_an_outage_too(client: httpx.AsyncClient, measured: StillMeasured) -> None:
    measured.is_away = True

    answer = await client.get("/metrics")

    assert answer.status_code == 200
    assert "dataharvest_measured_timestamp_seconds" in answer.text
