"""PDFs of real rows: what a reader finds in them."""

import io
import re
import unicodedata
from pathlib import Path

import pytest
from pypdf import PdfReader

from local_stack.source_data import generate as generate_data
from report_worker.reports import ErrorCode, ReportError
from report_worker.reports.pdf.fonts import NOTO_CJK_BLOCKS, _covered, install_fonts
from shared.catalogue import load_catalogue
from tests.integration.report_worker.reports.conftest import Made, Make, files_in, report_type
from tests.support.servers import DatabaseUrls

SHIPPED = Path(__file__).parents[4] / "deploy" / "catalogue"


def pages(made: Made) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(made.content)).pages]


async def test_every_row_is_there_once_under_a_repeated_header(make: Make) -> None:
    kind = report_type(
        "SELECT i AS number, 'row ' || i AS label FROM generate_series(1, 500) AS i ORDER BY i",
        {"label": {"type": "text", "title": "The label"}, "number": "integer"},
        pdf={"totals": {"columns": ["number"]}},
    )
    made = await make(kind, "PDF")
    texts = pages(made)
    assert made.report.rows == 500
    assert len(texts) > 5
    found = [int(n) for text in texts for n in re.findall(r"row (\d+)", text)]
    assert found == list(range(1, 501))
    for number, text in enumerate(texts, start=1):
        assert "The label" in text
        assert f"Page {number} of {len(texts)}" in text
    assert "January 2024" in texts[0]
    assert "1 February 2024, 09:30 UTC" in texts[0]
    assert "125,250" in texts[-1]


async def test_no_rows_are_a_report_that_says_so(make: Make) -> None:
    made = await make(report_type("SELECT 1 AS n WHERE false", {"n": "integer"}), "PDF")
    (text,) = pages(made)
    assert "There is nothing to report in this period." in text
    assert "Page 1 of 1" in text


async def test_past_the_limit_the_report_is_refused_with_other_formats_named(
    make: Make, artifacts: Path
) -> None:
    sql = "SELECT i AS n FROM generate_series(1, 101) AS i"
    kind = report_type(sql, {"n": "integer"}, limits={"max_pdf_rows": 100})
    with pytest.raises(ReportError, match="CSV, JSON or NDJSON") as refused:
        await make(kind, "PDF")
    assert (refused.value.code, refused.value.transient) == (ErrorCode.TOO_LARGE, False)
    assert files_in(artifacts) == []
    exact = report_type(sql.replace("101", "100"), {"n": "integer"}, limits={"max_pdf_rows": 100})
    assert (await make(exact, "PDF")).report.rows == 100


async def test_text_of_many_scripts_is_set_and_markup_is_text(make: Make) -> None:
    texts = ["漢字カナ한글", "Ελληνικά", "Кириллица", "<script>alert(1)</script>", 'a & b "c"']
    values = ", ".join(f"({index}, '{text}')" for index, text in enumerate(texts))
    sql = f"SELECT t FROM (VALUES {values}) AS rows (n, t) ORDER BY n"  # noqa: S608 - a test's
    (text,) = pages(await make(report_type(sql, {"t": "text"}), "PDF"))
    # Some CJK glyphs have two code points, of which the PDF names the compatible one.
    text = unicodedata.normalize("NFKC", text)
    for expected in texts:
        assert expected in text
    assert "for want of a font" not in text


async def test_pages_set_while_others_are_drawn_come_out_the_same_each_time(make: Make) -> None:
    """Each page asks for fonts of its own, which is what the threads share."""
    texts = ["漢字カナ한글", "Ελληνικά", "Кириллица", "ქართული", "नमस्ते", "שלום", "สวัสดี", "★☂"]
    array = "ARRAY['" + "', '".join(texts) + "']"
    sql = f"SELECT i AS n, ({array})[1 + i / 40 % 8] AS t FROM generate_series(1, 700) AS i"  # noqa: S608 - a test's own
    kind = report_type(sql, {"n": "integer", "t": "text"})
    first = await make(kind, "PDF")
    assert len(pages(first)) > 10
    for _ in range(3):
        assert (await make(kind, "PDF")).content == first.content


async def test_characters_that_no_font_has_are_named_in_their_own_report(make: Make) -> None:
    sql = "SELECT U&'\\+013000 alone' AS t"
    (text,) = pages(await make(report_type(sql, {"t": "text"}), "PDF"))
    assert "Shown as boxes, for want of a font: U+13000" in text
    (other,) = pages(await make(report_type("SELECT 'plain' AS t", {"t": "text"}), "PDF"))
    assert "for want of a font" not in other


@pytest.mark.parametrize("columns", [1, 12, 60])
async def test_any_number_of_columns_makes_whole_pages(make: Make, columns: int) -> None:
    names = [f"column_{number}" for number in range(columns)]
    values = ", ".join(f"repeat('word ', (i * {n}) % 40) AS {name}" for n, name in enumerate(names))
    sql = f"SELECT {values} FROM generate_series(1, 40) AS i"  # noqa: S608 - a test's own
    made = await make(report_type(sql, dict.fromkeys(names, "text")), "PDF")
    texts = pages(made)
    assert f"Page {len(texts)} of {len(texts)}" in texts[-1]


@pytest.mark.parametrize("name", ["ORDERS_SUMMARY", "ORDERS_DETAIL"])
@pytest.mark.parametrize("file_format", ["CSV", "JSON", "PDF"])
async def test_the_shipped_types_work_on_the_demo_data(
    make: Make, database: DatabaseUrls, name: str, file_format: str
) -> None:
    await generate_data(database.admin, orders=2_000)
    kind = load_catalogue(SHIPPED).get(name)
    assert kind is not None
    made = await make(kind, file_format)
    assert made.report.rows > 20
    if file_format == "PDF":
        assert "Total" in pages(made)[-1]


def test_the_cjk_font_has_the_blocks_that_are_not_looked_up() -> None:
    fonts = install_fonts()
    (cjk,) = (file for file in fonts._files if file.name == "NotoSansCJK-Regular.ttc")
    assert all(_covered(cjk).issuperset(block) for block in NOTO_CJK_BLOCKS)
