"""The gateway's commands: `gateway serve`, `gateway migrate` and `gateway keys`."""

from gateway.app import MIGRATIONS, SCHEMA, SERVICE, build_app
from gateway.key_commands import KEYS
from gateway.settings import Settings
from shared.commands import run_service


def main() -> None:
    """Run the command that the arguments name."""
    run_service(
        SERVICE,
        settings=Settings,
        build_app=build_app,
        schema=SCHEMA,
        migrations=MIGRATIONS,
        own_commands={"keys": KEYS},
    )


if __name__ == "__main__":
    main()
