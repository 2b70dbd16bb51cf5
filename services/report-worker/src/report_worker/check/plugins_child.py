"""The process that imports plugins to check them: report types in, disagreements out, as JSON."""

import os
import sys

from report_worker.check.plugins import ANSWER, REPORT_TYPES
from report_worker.plugins.agreement import Disagreement, disagreements
from report_worker.plugins.loading import PluginUnusableError, load_plugin
from shared.catalogue import ReportType


def main() -> None:
    """Answer once, on what was the standard output; what plugins print goes to the error output."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        report_types = REPORT_TYPES.validate_json(sys.stdin.buffer.read())
        answer.write(ANSWER.dump_json([_check(report_type) for report_type in report_types]))
    sys.stdout.flush()
    # Whatever a plugin's import has started mustn't keep this process.
    os._exit(0)


def _check(report_type: ReportType) -> list[Disagreement]:
    try:
        return list(disagreements(report_type, load_plugin(report_type.plugin or "")))
    except PluginUnusableError as error:
        return [Disagreement(("plugin",), str(error))]


if __name__ == "__main__":
    main()
