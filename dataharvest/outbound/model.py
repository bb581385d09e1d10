"""What an outbound message is: the fields that go out per client or portfolio, and what they are made from."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from dataharvest.errors import Misconfigured
from dataharvest.rules.carrying import declaration
from dataharvest.rules.needs import Rule, Work
from dataharvest.rules.outbound_messages import ENVELOPE
from dataharvest.transformers.model import Compute, Per, Reads


@dataclass(frozen=True, kw_only=True)
class OutboundMessage:
    """One kind of message.

    ``build`` gets each entity it reads as a keyword argument, as a transformer does, and ``values``: a frame with
    ``reference`` and the values named in ``takes``. It returns ``reference`` and one column per field.
    """

    name: str
    per: Per
    needs: frozenset[str]
    reads: Reads
    takes: Reads
    fields: tuple[str, ...]
    build: Compute
    logic_version: int

    def __post_init__(self) -> None:
        """Raise Misconfigured for a field that would take the place of one that every message has."""
        for name in self.fields:
            if name in (*ENVELOPE, self.reference_field, "withdrawn"):
                raise Misconfigured(
                    f"Outbound message {self.name}: every message has {name!r} already; call the field otherwise."
                )

    @property
    def topic(self) -> str:
        """Topic that the messages go to."""
        return f"outbound.{self.name}"

    @property
    def reference_field(self) -> str:
        """Field that names the client or portfolio."""
        return f"{self.per}_reference"

    @property
    def rule(self) -> Rule:
        """When it goes out and what holds afterwards."""
        return Rule(name=self.topic, needs=self.needs, provides=f"{self.name}_published", work=Work.PUBLISH)

    @property
    def made_by(self) -> str:
        """The declaration in short: of messages that another one has made nobody knows which would be the same."""
        return declaration(self.name, self.per, dict(self.reads), dict(self.takes), self.fields, self.logic_version)


def outbound(
    *,
    per: Per,
    reads: Reads,
    takes: Reads,
    fields: tuple[str, ...],
    needs: Collection[str] = (),
    logic_version: int = 1,
) -> Callable[[Compute], OutboundMessage]:
    """Declare a function as the builder of an outbound message; the topic is ``outbound.`` and the function's name.

    It needs the transformers whose values it takes, and what ``needs`` adds. Raise ``logic_version`` when the same records
    and values make another message: the next version of each set then looks at every message, not only at those whose
    records or values have changed.
    """

    def declare(build: Compute) -> OutboundMessage:
        return OutboundMessage(
            name=build.__name__,
            per=per,
            needs=frozenset({"relation_established", *takes, *needs}),
            reads=reads,
            takes=takes,
            fields=fields,
            build=build,
            logic_version=logic_version,
        )

    return declare
