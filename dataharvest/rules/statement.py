"""The figures of a set from file to message, as they are counted for its reconciliation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from dataharvest.rules.control_totals import DeliveryTotals
from dataharvest.rules.manifest import Manifest
from dataharvest.rules.tiling import Totals

COUNTS = ("read", "persisted", "quarantined", "duplicate", "accepted")
"""What the counts of `Totals` are called, in their order."""


@dataclass(frozen=True, kw_only=True)
class DeliveryFigures:
    """One complete delivery in the ledger and in the table."""

    delivery_id: int
    entity: str
    is_newest: bool
    """Whether it is the newest complete delivery of its entity; otherwise the set version still has it."""
    ledger: Totals
    """Sums over its chunks."""
    recorded: Totals
    """What was noted when it was complete."""
    recorded_sums: Mapping[str, Decimal] | None
    """None for a delivery that was complete before sums were kept."""
    row_count: int
    quarantine_count: int
    """Records that lie in quarantine, neither repaired nor accepted."""
    accepted_count: int
    """Records that lie in quarantine and were left out on purpose."""
    row_sums: Mapping[str, Decimal]
    object_sha256: str | None = None
    content_sha256: str | None = None

    @property
    def totals(self) -> DeliveryTotals:
        """What a manifest is compared with."""
        return DeliveryTotals(
            delivery_id=self.delivery_id,
            entity=self.entity,
            records=self.ledger.record_count,
            sums=self.row_sums,
            object_sha256=self.object_sha256,
            content_sha256=self.content_sha256,
            left_out=self.ledger.record_count - self.ledger.persisted_count,
        )


@dataclass(frozen=True, kw_only=True)
class Unlike:
    """Clients or portfolios of which something stored is not what the rows give now."""

    count: int = 0
    sample: tuple[str, ...] = ()
    """The first references of them."""

    @property
    def note(self) -> str:
        """For a person: who they are, or who the first of them are."""
        named = ", ".join(self.sample)
        return named if len(self.sample) == self.count else f"the first: {named}"


@dataclass(frozen=True, kw_only=True)
class RelationFigures:
    """What relating the set version's records has left, beside the rows as they are now."""

    is_done: bool
    """Whether nothing is left to be related: it may also be blocked for what was found."""
    expected_count: int
    """Rows of portfolios that have an account and a client."""
    link_count: int
    missing: Unlike
    """Such rows without a link of the same portfolio, client and account."""
    expected_orphans: Mapping[str, int]
    """Rows without a counterpart, by kind."""
    orphan_counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class ValuesFromRows:
    """What a transformer gives for the rows as they are now."""

    sums: Mapping[str, Decimal | int]
    unlike: Unlike
    """Whose stored values are others."""


@dataclass(frozen=True, kw_only=True)
class ValueFigures:
    """What one transformer stored for the set version."""

    transformer: str
    per: str
    """What each value belongs to: ``client`` or ``portfolio``."""
    is_done: bool
    expected_count: int | None
    """Clients, or linked portfolios, of the version; None where the set has changed since."""
    reference_count: int
    sums: Mapping[str, Decimal | int] = field(default_factory=dict)
    from_rows: ValuesFromRows | None = None
    """None where nothing is to be compared: it is not done, or the set or the transformer has changed since."""
    is_other_logic: bool = False
    """Whether another declaration of the transformer has computed some of them."""


@dataclass(frozen=True, kw_only=True)
class OutboundFigures:
    """The newest message of each key, up to the set version."""

    topic: str
    is_done: bool
    takes: Mapping[str, tuple[str, ...]]
    """Fields that are a transformer's values, by transformer."""
    copied_sums: Mapping[str, Mapping[str, Decimal]]
    """By entity, sums of the columns that are fields, each row counted once for every message that it goes into."""
    message_count: int
    """Without those that withdraw a client or portfolio."""
    withdrawn_count: int
    unsent_count: int
    sums: Mapping[str, Decimal | int] = field(default_factory=dict)
    unlike: Unlike | None = None
    """Whose newest messages are not what rows and values give now; None where it is not compared, as with values."""
    is_other_logic: bool = False
    """Whether another declaration of the message has made some of them."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """All figures of a set."""

    tenant: str
    business_date: date
    version: int | None
    """Newest set version that was not cancelled; None before the first."""
    version_state: str | None
    version_deliveries: Mapping[str, int]
    manifest: Manifest | None
    """None also for one that can't be used: ``manifest_trouble`` says why."""
    deliveries: tuple[DeliveryFigures, ...]
    is_other_edition: bool = False
    """Whether records were repaired or accepted, or a computation asked for, since the version was made."""
    relation: RelationFigures | None = None
    """None without a version, or where the set has changed since."""
    values: tuple[ValueFigures, ...] = ()
    outbound: tuple[OutboundFigures, ...] = ()
    manifest_trouble: str = ""

    @property
    def newest(self) -> dict[str, DeliveryFigures]:
        """The newest complete delivery of each entity."""
        return {one.entity: one for one in self.deliveries if one.is_newest}
