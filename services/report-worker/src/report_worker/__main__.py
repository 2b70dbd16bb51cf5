"""The report-worker's commands: `serve`, `migrate` and `catalogue check`."""

from report_worker.app import MIGRATIONS, SCHEMA, SERVICE, build_app
from report_worker.check import command as catalogue
from report_worker.settings import Settings
from shared.commands import StandaloneCommand, run_service


def main() -> None:
    """Run the command that the arguments name."""
    run_service(
        SERVICE,
        settings=Settings,
        build_app=build_app,
        schema=SCHEMA,
        migrations=MIGRATIONS,
        own_commands={
            "catalogue": StandaloneCommand(
                "check report types", catalogue.run, catalogue.add_arguments
            )
        },
    )


if __name__ == "__main__":
    main()
