"""The rules that messages and whole files can break: the names that dead letters, deliveries and commands know them by."""

import re

REJECTIONS: frozenset[str] = frozenset(
    {
        *("crashed_worker", "empty_message", "message_too_large", "unreadable_event", "unreadable_message"),
        *("chunk_conflict", "chunk_damaged", "rows_without_chunk", "unknown_delivery", "unknown_place", "unknown_rule"),
        *("object_forbidden", "source_removed", "unknown_key_pattern", "tenant_name", "unknown_entity", "impossible_date"),
        *("content_too_long", "corrupt_compression", "truncated_compression", "compression_ratio", "encoding", "not_text"),
        *("empty_file", "header_too_long", "missing_column", "repeated_column", "stray_quote", "duplicate"),
        *("invalid_contract", "unknown_contract", "invalid_manifest", "stored_manifest", "set_is_publishing"),
    }
)
"""Those that the program itself knows; what an installed transformer rejects has a name of its own."""
_REFUSED_BY_POSTGRESQL = re.compile(r"sqlstate_[0-9A-Z]{5}")


def names_a_rejection(rule: str) -> bool:
    """Whether a message or a file can break a rule of this name."""
    return rule in REJECTIONS or _REFUSED_BY_POSTGRESQL.fullmatch(rule) is not None
