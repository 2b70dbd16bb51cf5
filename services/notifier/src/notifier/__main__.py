"""The notifier's commands: `notifier serve` and `notifier migrate`."""

from notifier.app import MIGRATIONS, SCHEMA, SERVICE, build_app
from notifier.settings import Settings
from shared.commands import run_service


def main() -> None:
    """Run the command that the arguments name."""
    run_service(
        SERVICE, settings=Settings, build_app=build_app, schema=SCHEMA, migrations=MIGRATIONS
    )


if __name__ == "__main__":
    main()
