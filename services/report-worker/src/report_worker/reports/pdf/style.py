"""How a page looks: sizes, and the style sheet that all pages of a report share."""

from collections.abc import Sequence

from report_worker.reports.pdf.fonts import FAMILIES
from report_worker.reports.pdf.table import (
    CELL_PADDING,
    LINE_HEIGHT,
    MARGIN,
    MAX_LINES,
    ROW_PADDING,
    Grid,
    Sheet,
)
from shared.catalogue import Column

RUNNING_HEAD = 24.0
CHART = 168.0
CHART_TITLE = 20.0
META_SIZE = 9.0
META_LINE = 13.5
TITLE_LINE = 27.0
TITLE_SIZE = 20.0
GAP = 12.0

_STYLE = """
body {{ margin: 0; color: #1f2937; font-family: {families}; }}
.sheet {{ box-sizing: border-box; position: relative; width: {width:.2f}pt; height: {height:.2f}pt;
  overflow: hidden; padding: {margin}pt; }}
h1 {{ margin: 0; font-size: {title_size}pt; line-height: {title_line}pt; white-space: nowrap;
  color: #111827; }}
.meta {{ font-size: {meta_size}pt; line-height: {meta_line}pt; white-space: nowrap;
  color: #4b5563; }}
.meta b {{ color: #1f2937; }}
.notice {{ color: #92400e; }}
.head {{ box-sizing: border-box; border-bottom: 1.5pt solid #1f5fa8; overflow: hidden; }}
.gap {{ height: {gap}pt; }}
.running {{ height: {running}pt; font-size: 8pt; line-height: 12pt; color: #6b7280; }}
.chart {{ height: {chart}pt; overflow: hidden; }}
.chart h2 {{ margin: 0; font-size: 9.5pt; font-weight: bold; line-height: {chart_title}pt; }}
.table {{ font-size: {size}pt; line-height: {line_height}em; white-space: nowrap; }}
.row {{ box-sizing: border-box; position: relative; }}
.row p {{ position: absolute; top: {pad_y:.3f}em; margin: 0; }}
.heading {{ font-weight: bold; color: #374151; background: #eef2f7;
  border-bottom: 0.75pt solid #9ca3af; }}
.heading p {{ top: auto; bottom: {pad_y:.3f}em; }}
.odd {{ background: #f5f7fa; }}
.total {{ font-weight: bold; background: #eef2f7; }}
.first {{ border-top: 1pt solid #6b7280; }}
{heights}
{columns}
.empty {{ margin-top: 60pt; text-align: center; font-size: 12pt; color: #6b7280; }}
.footer {{ position: absolute; left: {margin}pt; right: {margin}pt; bottom: {footer_bottom}pt;
  font-size: 7.5pt; line-height: 10pt; color: #6b7280; white-space: nowrap; }}
.footer .page {{ position: absolute; right: 0; top: 0; }}
"""


def stylesheet(columns: Sequence[Column], grid: Grid) -> str:
    """Write the rules for a report with these columns on this grid."""
    sheet = grid.sheet
    return _STYLE.format(
        families=FAMILIES,
        width=sheet.width,
        height=sheet.height - 1,  # a hair less than the page, so that no second one begins
        margin=MARGIN,
        title_size=TITLE_SIZE,
        title_line=TITLE_LINE,
        meta_size=META_SIZE,
        meta_line=META_LINE,
        gap=GAP,
        running=RUNNING_HEAD,
        chart=CHART,
        chart_title=CHART_TITLE,
        size=sheet.font_size,
        line_height=LINE_HEIGHT,
        pad_y=ROW_PADDING / 2,
        heights=_height_rules(sheet),
        columns=_column_rules(columns, grid),
        footer_bottom=MARGIN - 14,
    )


def _height_rules(sheet: Sheet) -> str:
    """The height of a row for each number of lines."""
    return "\n".join(
        f".h{lines} {{ height: {sheet.row_height(lines):.2f}pt; }}"
        for lines in range(1, MAX_LINES + 1)
    )


def _column_rules(columns: Sequence[Column], grid: Grid) -> str:
    """Where the text of each column lies in its row; numbers stand at the right."""
    rules = []
    size, left = grid.sheet.font_size, CELL_PADDING
    for index, (column, width) in enumerate(zip(columns, grid.widths, strict=True)):
        align = "right" if column.is_numeric else "left"
        place = f"left: {left * size:.3f}pt; width: {width * size:.3f}pt"
        rules.append(f".c{index} {{ {place}; text-align: {align}; }}")
        left += width + 2 * CELL_PADDING
    return "\n".join(rules)
