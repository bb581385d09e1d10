"""Seeded transactions files and what they add up to, computed without the pipeline."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

KEYWORDS = ("DEPOSIT", "WITHDRAWAL", "TAX", "FEE", "DIVIDEND", "INTEREST", "BUY")
HEADER = "record_id,account_number,transaction_reference,amount,keyword\n"
_BLOCK_ROWS = 500_000


@dataclass(frozen=True)
class Oracle:
    """What a correct load must show."""

    rows: int
    amount: Decimal
    deposits: Decimal


def write_transactions(path: Path, *, rows: int, seed: int = 1) -> Oracle:
    """Write a transactions file; the same rows and seed give the same bytes."""
    random = np.random.default_rng(seed)
    cents = deposit_cents = 0
    with path.open("w", encoding="ascii") as file:
        file.write(HEADER)
        for first in range(0, rows, _BLOCK_ROWS):
            count = min(_BLOCK_ROWS, rows - first)
            accounts = (10_000_000 + random.integers(0, max(1, rows // 20), count)).tolist()
            keywords = random.integers(0, len(KEYWORDS), count)
            amounts = np.rint(random.normal(0, 2000, count) * 100).astype(np.int64)
            references = random.integers(0, 1 << 63, count).tolist()
            cents += int(amounts.sum())
            deposit_cents += int(amounts[keywords == 0].sum())
            file.writelines(
                f"{first + i + 1},{account},{reference:016x},{_money(amount)},{KEYWORDS[keyword]}\n"
                for i, (account, reference, amount, keyword) in enumerate(
                    zip(accounts, references, amounts.tolist(), keywords.tolist(), strict=True)
                )
            )
    return Oracle(rows=rows, amount=Decimal(cents) / 100, deposits=Decimal(deposit_cents) / 100)


def _money(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
