"""Whether the worker knows the data sources that the catalogue names."""

from collections.abc import Collection, Sequence

from shared.catalogue import CatalogueFile, Mistake


def source_mistakes(files: Sequence[CatalogueFile], sources: Collection[str]) -> list[Mistake]:
    """Hold the sources that report types read against those of the settings."""
    return [
        file.mistake(
            ("sources" if file.report_type.source is None else "source",),
            f"REPORT_WORKER_SOURCES names no source {name!r}",
        )
        for file in files
        for name in file.report_type.source_names
        if name not in sources
    ]
