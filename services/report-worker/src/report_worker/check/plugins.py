"""Whether the plugins that the catalogue names are there and fit, asked in a process of its own.

The worker's own process never runs a plugin's code: it holds the queue, and a plugin may do
anything when it is imported.
"""

import subprocess
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Final

from pydantic import TypeAdapter, ValidationError

from report_worker.execution.environment import child_environment
from report_worker.plugins.agreement import Disagreement
from shared.catalogue import CatalogueFile, Mistake, ReportType

REPORT_TYPES: Final = TypeAdapter(list[ReportType])
"""What the process is told."""

ANSWER: Final = TypeAdapter(list[list[Disagreement]])
"""What it answers: the disagreements of each report type, in the same order."""

_SECONDS: Final = 60.0


def plugin_mistakes(files: Sequence[CatalogueFile]) -> list[Mistake]:
    """Import the plugins that report types name, and hold each against its type.

    Where the process that does so comes to harm, each is asked alone, to find out whose it was.
    """
    files = [file for file in files if file.report_type.plugin is not None]
    if not files:
        return []
    try:
        answers = _ask([file.report_type for file in files])
    except (subprocess.SubprocessError, OSError, ValidationError) as error:
        alone = [plugin_mistakes([file]) for file in files] if len(files) > 1 else []
        found = list(chain.from_iterable(alone))
        return found or [files[0].mistake(("plugin",), _reason(error))]
    return [
        file.mistake(one.field, one.reason)
        for file, answer in zip(files, answers, strict=True)
        for one in answer
    ]


def _ask(report_types: list[ReportType]) -> list[list[Disagreement]]:
    asked = subprocess.run(
        [sys.executable, "-P", "-m", "report_worker.check.plugins_child"],
        input=REPORT_TYPES.dump_json(report_types),
        stdout=subprocess.PIPE,
        env=child_environment(),
        timeout=_SECONDS,
        check=True,
    )
    return ANSWER.validate_json(asked.stdout)


def _reason(error: Exception) -> str:
    match error:
        case subprocess.TimeoutExpired():
            return f"the plugins weren't imported within {_SECONDS:.0f} seconds"
        case subprocess.CalledProcessError():
            return f"the process that imported the plugins ended with status {error.returncode}"
        case _:
            return f"the plugins can't be checked: {type(error).__name__}"
