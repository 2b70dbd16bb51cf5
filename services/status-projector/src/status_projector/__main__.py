"""The status-projector's commands: `status-projector serve` and `status-projector migrate`."""

from shared.commands import run_service
from status_projector.app import MIGRATIONS, SCHEMA, SERVICE, build_app
from status_projector.settings import Settings


def main() -> None:
    """Run the command that the arguments name."""
    run_service(
        SERVICE, settings=Settings, build_app=build_app, schema=SCHEMA, migrations=MIGRATIONS
    )


if __name__ == "__main__":
    main()
