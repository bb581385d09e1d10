"""What the stages need from the outside, and what each port promises.

Only Rejected, Unavailable and ObjectTrouble cross a port. Every method may be called again with the same arguments.
"""

from dataharvest.ports.contracts import Contracts
from dataharvest.ports.deliveries import Chunks, Deliveries, Manifests, Removals
from dataharvest.ports.judgements import Judgements, LockedJudgement
from dataharvest.ports.messaging import AttemptJournal, DeadLetters, Position, RawMessage, Resender, Sender
from dataharvest.ports.quarantine import LockedRepair, Quarantine
from dataharvest.ports.reading import StatusReader
from dataharvest.ports.sets import LockedSet, Sets
from dataharvest.ports.work import BatchesToSend, BesideBase, LockedBatch, Work

__all__ = [
    "AttemptJournal",
    "BatchesToSend",
    "BesideBase",
    "Chunks",
    "Contracts",
    "DeadLetters",
    "Deliveries",
    "Judgements",
    "LockedBatch",
    "LockedJudgement",
    "LockedRepair",
    "LockedSet",
    "Manifests",
    "Position",
    "Quarantine",
    "RawMessage",
    "Removals",
    "Resender",
    "Sender",
    "Sets",
    "StatusReader",
    "Work",
]
