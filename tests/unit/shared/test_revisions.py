"""The revision that readiness asks for is the one that `migrate` goes to."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from gateway.app import MIGRATIONS as GATEWAY
from notifier.app import MIGRATIONS as NOTIFIER
from report_worker.app import MIGRATIONS as REPORT_WORKER
from shared.database.revisions import head
from status_projector.app import MIGRATIONS as STATUS_PROJECTOR


@pytest.mark.parametrize("directory", [GATEWAY, NOTIFIER, REPORT_WORKER, STATUS_PROJECTOR])
def test_the_newest_revision_is_what_alembic_takes_for_it(directory: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(directory))
    config.set_main_option("path_separator", "os")

    assert head(directory) == ScriptDirectory.from_config(config).get_current_head()
