"""The report catalogue: declarative report types that an operator mounts, checked once at start."""

from shared.catalogue.catalogue import Catalogue
from shared.catalogue.loading import (
    CatalogueError,
    CatalogueFile,
    Mistake,
    load_catalogue,
    load_files,
)
from shared.catalogue.parameters import Binding, SqlType
from shared.catalogue.report_type import Column, ColumnType, Limits, ReportType
from shared.catalogue.sql import SqlTemplate, SqlTemplateError, parse_sql

__all__ = [
    "Binding",
    "Catalogue",
    "CatalogueError",
    "CatalogueFile",
    "Column",
    "ColumnType",
    "Limits",
    "Mistake",
    "ReportType",
    "SqlTemplate",
    "SqlTemplateError",
    "SqlType",
    "load_catalogue",
    "load_files",
    "parse_sql",
]
