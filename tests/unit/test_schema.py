"""What the program knows of its own migrations."""

from alembic.script import ScriptDirectory

from dataharvest.adapters.postgres.schema import head_revision, known_revisions
from dataharvest.sql import MIGRATIONS


def test_the_files_are_named_after_the_revisions_that_alembic_finds_in_them() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert known_revisions() == [one.revision for one in scripts.walk_revisions()][::-1]
    assert head_revision() == scripts.get_current_head()
