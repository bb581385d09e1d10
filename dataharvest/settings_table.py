"""The settings as a table for people: the README's is written from here, so that it can't fall behind."""

from pathlib import Path

from pydantic.fields import FieldInfo

from dataharvest.settings import Settings

README = Path(__file__).parent.parent / "README.md"
_BEGIN, _END = "<!-- settings: written by `make docs` -->\n", "<!-- end of settings -->\n"


def settings_table() -> str:
    """A Markdown table of every setting: the variable that sets it, its default, its meaning."""
    prefix = Settings.model_config.get("env_prefix", "")
    rows = [_row(f"{prefix}{name}".upper(), field) for name, field in Settings.model_fields.items()]
    return "".join(["| variable | default | meaning |\n", "|---|---|---|\n", *rows])


def with_settings_table(text: str) -> str:
    """The text with what stands between its two markers replaced by the current table.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the text lacks {_BEGIN.strip()} or {_END.strip()}")
    return f"{before}{begin}{settings_table()}{end}{after}"


def _row(variable: str, field: FieldInfo) -> str:
    return f"| `{variable}` | {_default(field)} | {field.description} |\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    if field.default is None:
        return "–"
    shown = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    return f"`{shown}`"


if __name__ == "__main__":
    README.write_text(with_settings_table(README.read_text("utf-8")), "utf-8")
