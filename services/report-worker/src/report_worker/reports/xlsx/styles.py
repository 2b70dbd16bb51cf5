"""The looks of a workbook's cells, by their place in the list of styles."""

from typing import Final
from xml.sax.saxutils import quoteattr

TEXT: Final = 0
HEADING: Final = 1
QUOTED: Final = 2
DATE: Final = 3
TIME: Final = 4
TIME_WITH_FRACTION: Final = 5
INTEGER: Final = 6
NUMBER_AS_TEXT: Final = 7

MOST_DECIMALS: Final = 30
"""Digits after the point that a number format can show."""

_FIRST_DECIMAL: Final = 8
_FIRST_FORMAT: Final = 164
"""Lower numbers are formats of the application's own."""

# Times are in UTC, and say so, since a spreadsheet knows no time zones.
_FORMATS: Final = {
    DATE: "yyyy\\-mm\\-dd",
    TIME: 'yyyy\\-mm\\-dd hh:mm:ss"Z"',
    TIME_WITH_FRACTION: 'yyyy\\-mm\\-dd hh:mm:ss.000"Z"',
    INTEGER: "0",
} | {
    _FIRST_DECIMAL + decimals - 1: f"#,##0.{'0' * decimals}"
    for decimals in range(1, MOST_DECIMALS + 1)
}


def decimal_style(decimals: int) -> int:
    """Give the style that shows so many digits after the point, from 1 to `MOST_DECIMALS`."""
    return _FIRST_DECIMAL + decimals - 1


def stylesheet() -> str:
    """Write the workbook's `styles.xml`."""
    formats = "".join(
        f'<numFmt numFmtId="{_FIRST_FORMAT + style}" formatCode={quoteattr(code)}/>'
        for style, code in _FORMATS.items()
    )
    styles = "".join(_style(style) for style in range(_FIRST_DECIMAL + MOST_DECIMALS))
    return (
        '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        f'<numFmts count="{len(_FORMATS)}">{formats}</numFmts>'
        '<fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
        '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>'
        '<fills count="3"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill>'
        '<fill><patternFill patternType="solid"><fgColor rgb="FFEEF2F7"/>'
        '<bgColor indexed="64"/></patternFill></fill></fills>'
        '<borders count="2"><border><left/><right/><top/><bottom/><diagonal/></border>'
        '<border><left/><right/><top/><bottom style="thin"><color rgb="FF9CA3AF"/></bottom>'
        "<diagonal/></border></borders>"
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/>'
        "</cellStyleXfs>"
        f'<cellXfs count="{_FIRST_DECIMAL + MOST_DECIMALS}">{styles}</cellXfs>'
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>'
        "</styleSheet>"
    )


def _style(style: int) -> str:
    number_format = _FIRST_FORMAT + style if style in _FORMATS else 0
    common = f'<xf numFmtId="{number_format}" xfId="0"'
    plain = ' fontId="0" fillId="0" borderId="0"'
    match style:
        case s if s == HEADING:
            return (
                f'{common} fontId="1" fillId="2" borderId="1" applyFont="1" applyFill="1"'
                ' applyBorder="1"/>'
            )
        case s if s == QUOTED:
            return f'{common}{plain} quotePrefix="1"/>'
        case s if s == NUMBER_AS_TEXT:
            return f'{common}{plain} applyAlignment="1"><alignment horizontal="right"/></xf>'
        case s if s == TEXT:
            return f"{common}{plain}/>"
        case _:
            return f'{common}{plain} applyNumberFormat="1"/>'
