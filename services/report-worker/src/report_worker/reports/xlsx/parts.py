"""The parts of a workbook beside its rows."""

from collections.abc import Sequence
from typing import Final

from report_worker.reports.cells import TextRow
from report_worker.reports.report import ReportSpec
from report_worker.reports.xlsx.cells import escaped
from shared.catalogue import Column, ColumnType

_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"

_SHEET: Final = "Report"
_WIDTHS: Final = {
    ColumnType.DATE: 12,
    ColumnType.TIMESTAMP: 26,
    ColumnType.BOOLEAN: 8,
}
_NARROWEST, _WIDEST = 8, 60
_ARROW: Final = 4
"""Characters that the filter's button takes from a title."""

CONTENT_TYPES: Final = (
    f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels"'
    ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
    '<Override PartName="/docProps/core.xml"'
    ' ContentType="application/vnd.openxmlformats-package.core-properties+xml"/>'
    "</Types>"
)
RELATIONSHIPS: Final = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/relationships/officeDocument"'
    ' Target="xl/workbook.xml"/>'
    f'<Relationship Id="rId2" Type="{_PACKAGE}/relationships/metadata/core-properties"'
    ' Target="docProps/core.xml"/>'
    "</Relationships>"
)
WORKBOOK_RELATIONSHIPS: Final = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/relationships/worksheet"'
    ' Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId2" Type="{_OFFICE}/relationships/styles" Target="styles.xml"/>'
    "</Relationships>"
)


def core_properties(spec: ReportSpec) -> str:
    """Write the document's title and the time that stands on it."""
    made = f"{spec.generated_at:%Y-%m-%dT%H:%M:%SZ}"
    return (
        f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<dc:title>{escaped(spec.report_type.title)}</dc:title>"
        "<dc:creator>report-jobs</dc:creator>"
        f'<dcterms:created xsi:type="dcterms:W3CDTF">{made}</dcterms:created>'
        "</cp:coreProperties>"
    )


def workbook(last_cell: str) -> str:
    """Write the workbook: its one sheet, and the cells that the filter is for."""
    return (
        f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}/relationships">'
        f'<sheets><sheet name="{_SHEET}" sheetId="1" r:id="rId1"/></sheets>'
        '<definedNames><definedName name="_xlnm._FilterDatabase" localSheetId="0" hidden="1">'
        f"{_SHEET}!$A$1:{last_cell}</definedName></definedNames></workbook>"
    )


def sheet_start(columns: Sequence[Column], first_rows: Sequence[TextRow]) -> str:
    """Begin the sheet: the first row stays in sight, and the columns have widths."""
    widths = "".join(
        f'<col min="{number}" max="{number}" width="{width}" customWidth="1"/>'
        for number, width in enumerate(_widths(columns, first_rows), start=1)
    )
    return (
        f'<worksheet xmlns="{_MAIN}"><sheetViews><sheetView tabSelected="1" workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
        '<selection pane="bottomLeft"/></sheetView></sheetViews>'
        f'<sheetFormatPr defaultRowHeight="15"/><cols>{widths}</cols><sheetData>'
    )


def sheet_end(last_column: str, last_row: int) -> str:
    """End the sheet: every column can be filtered."""
    return f'</sheetData><autoFilter ref="A1:{last_column}{last_row}"/></worksheet>'


def _widths(columns: Sequence[Column], rows: Sequence[TextRow]) -> list[int]:
    """Give each column's width in characters."""
    return [_width(column, [row[index] for row in rows]) for index, column in enumerate(columns)]


def _width(column: Column, texts: Sequence[str | None]) -> int:
    title = len(column.title) + _ARROW
    content = _WIDTHS.get(column.type) or max((len(text or "") for text in texts), default=0) + 2
    return min(max(title, content, _NARROWEST), _WIDEST)
