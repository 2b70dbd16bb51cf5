"""Reading the catalogue's files, and saying what is wrong with them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.catalogue import CatalogueError, ColumnType, load_catalogue, load_files
from shared.report_request import ReportFormat

SHIPPED = Path(__file__).parents[3] / "deploy" / "catalogue"

REPORT: dict[str, Any] = {
    "name": "SALES",
    "title": "Sales",
    "source": "orders",
    "sql": "SELECT day, amount FROM sales WHERE day BETWEEN :from_date AND :to_date ORDER BY day",
    "columns": [
        {"name": "day", "title": "Day", "type": "date"},
        {"name": "amount", "title": "Amount", "type": "decimal", "scale": 2},
    ],
}


def write(directory: Path, name: str = "sales.yaml", /, **changes: Any) -> Path:
    file = directory / name
    file.write_text(
        yaml.safe_dump({**REPORT, **changes}, sort_keys=False, width=200), encoding="utf-8"
    )
    return file


def mistakes(directory: Path) -> str:
    with pytest.raises(CatalogueError) as refused:
        load_catalogue(directory)
    return str(refused.value)


def test_the_shipped_catalogue_loads() -> None:
    catalogue = load_catalogue(SHIPPED)
    assert [report_type.name for report_type in catalogue] == [
        "CUSTOMERS_EXPORT",
        "ORDERS_DETAIL",
        "ORDERS_SUMMARY",
        "SALES_ANALYTICS",
    ]
    assert len(catalogue) == 4
    assert catalogue.get("ORDERS_SUMMARY") is not None
    assert catalogue.get("orders_summary") is None


def test_what_a_file_leaves_out_has_defaults(tmp_path: Path) -> None:
    write(tmp_path)
    report_type = load_catalogue(tmp_path).get("SALES")
    assert report_type is not None
    assert report_type.formats == tuple(ReportFormat)
    assert report_type.defuse_formulas
    assert report_type.limits.max_span_days == 366
    assert report_type.limits.statement_timeout.total_seconds() == 900
    assert [column.type for column in report_type.columns] == [ColumnType.DATE, ColumnType.DECIMAL]


def test_a_plugin_stands_in_the_place_of_the_sql(tmp_path: Path) -> None:
    write(
        tmp_path,
        plugin="sales",
        sql=None,
        source=None,
        sources=["orders", "rates"],
        parameters={"properties": {"region": {"type": "string"}}},
    )
    report_type = load_catalogue(tmp_path).get("SALES")
    assert report_type is not None
    assert report_type.plugin == "sales"
    assert report_type.source_names == ("orders", "rates")


@pytest.mark.parametrize(
    ("sql", "line"), [("|\n  SELECT 1\n  AS day", 6), ("SELECT 1\n  AS day", 4), ("'SELECT 1'", 4)]
)
def test_a_line_of_the_sql_is_found_in_a_literal_block(tmp_path: Path, sql: str, line: int) -> None:
    column = "columns: [{name: day, title: Day, type: integer}]"
    (tmp_path / "a.yaml").write_text(f"name: ONE\ntitle: One\nsource: s\nsql: {sql}\n{column}\n")
    (file,) = load_files(tmp_path)
    assert str(file.mistake(("sql",), "bad", text_line=2)) == f"{file.path}:{line}: sql: bad"


def test_hidden_and_other_files_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "sales.yml")
    (tmp_path / "..data").mkdir()
    (tmp_path / ".draft.yaml").write_text("nonsense")
    (tmp_path / "README.md").write_text("nonsense")
    assert len(load_catalogue(tmp_path)) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"titel": "x"}, "sales.yaml:13: titel: is not a known field"),
        ({"name": "sales"}, "sales.yaml:1: name: String should match pattern"),
        ({"source": 3}, "sales.yaml:3: source: Input should be a valid string"),
        ({"source": None}, "sales.yaml:3: source: is missing: name the data source"),
        ({"sql": None}, "sales.yaml:4: sql: is missing: give the SQL, or the plugin"),
        ({"sources": ["orders"]}, "sales.yaml:13: sources: is for plugins; SQL reads one source"),
        ({"plugin": "sales"}, "sales.yaml:13: plugin: can't be given beside sql"),
        ({"plugin": "Sales"}, "sales.yaml:13: plugin: String should match pattern"),
        ({"plugin": "sales", "sql": None}, "sales.yaml:3: source: is for SQL; a plugin's are"),
        (
            {"plugin": "sales", "sql": None, "source": None, "sources": ["a", "a"]},
            "sources: names a source twice",
        ),
        ({"formats": ["XML"]}, "formats.0: Input should be"),
        ({"formats": ["CSV", "CSV"]}, "formats: names a format twice"),
        ({"formats": []}, "formats: names no format"),
        ({"limits": {"max_span_days": 0}}, "limits.max_span_days: Input should be greater"),
        ({"limits": {"max_days": 3}}, "sales.yaml:14: limits.max_days: is not a known field"),
        ({"limits": {"statement_timeout": "soon"}}, "limits.statement_timeout: Input should be"),
        ({"sql": "SELECT 1; SELECT 2"}, "sales.yaml:4: sql: line 1 of the SQL: holds more than"),
        ({"sql": "SELECT :form_date"}, "sales.yaml:4: sql: :form_date is not a declared parameter"),
        ({"columns": []}, "columns: declares no column"),
        (
            {"columns": [*REPORT["columns"], REPORT["columns"][0]]},
            "columns.2.name: column day is declared twice",
        ),
        (
            {"columns": [{"name": "day", "title": "Day", "type": "date", "scale": 1}]},
            "sales.yaml:9: columns.0.scale: scale is for columns of type decimal",
        ),
        (
            {"pdf": {"chart": {"kind": "bar", "title": "C", "label": "month"}}},
            "sales.yaml:17: pdf.chart.label: month is not a declared column",
        ),
        (
            {"pdf": {"chart": {"kind": "bar", "title": "C", "label": "day", "value": "day"}}},
            "pdf.chart.value: day is not an integer or decimal column",
        ),
        (
            {"pdf": {"totals": {"columns": ["amount", "day"]}}},
            "pdf.totals.columns.1: day is not an integer or decimal column",
        ),
        (
            {"columns": REPORT["columns"][::-1], "pdf": {"totals": {"columns": ["amount"]}}},
            "pdf.totals.columns: the first column holds the word Total",
        ),
        (
            {"pdf": {"totals": {"columns": ["amount"], "by": "currency"}}},
            "pdf.totals.by: currency is not a declared column",
        ),
        (
            {"parameters": {"properties": {"region": {"type": "string"}}}},
            "sales.yaml:15: parameters.properties.region: the SQL never uses :region",
        ),
        (
            {"parameters": {"properties": {"region": {"type": "text"}}}},
            "parameters.properties.region.type: 'text' is not valid under any",
        ),
        (
            {"parameters": {"properties": {"region": {"type": "object"}}}},
            "parameters.properties.region.type: region needs a type of string",
        ),
        (
            {"parameters": {"properties": {"region": {"type": "string", "pattern": "("}}}},
            "parameters.properties.region.pattern: '(' is not a 'regex'",
        ),
        (
            {"parameters": {"properties": {"region": {"type": "string", "default": 1}}}},
            "parameters.properties.region.default: the default of region breaks its own schema",
        ),
        (
            {"parameters": {"properties": {"to_date": {"type": "string"}}}},
            "parameters.properties.to_date: to_date always comes from the date range",
        ),
        (
            {"parameters": {"properties": {"a-b": {"type": "string"}}}},
            "the parameter name a-b can't be written as :name",
        ),
        ({"parameters": {"type": "array"}}, "parameters.type: must describe an object"),
        (
            {"parameters": {"properties": {"a": {"type": "string", "$ref": "https://x/y"}}}},
            "parameters.properties.a.$ref: $ref is not supported",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_field(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    write(tmp_path, **changes)
    assert expected in mistakes(tmp_path)


def test_one_mistake_is_reported_once(tmp_path: Path) -> None:
    write(tmp_path, formats=["XML"])
    assert len(mistakes(tmp_path).splitlines()) == 1


def test_all_mistakes_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", titel="x", limits={"max_span_days": 0})
    write(tmp_path, "b.yaml", source="")
    assert len(mistakes(tmp_path).splitlines()) == 3


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a.yaml"), write(tmp_path, "b.yaml")
    assert mistakes(tmp_path) == f"{second}:1: name: SALES is already defined in {first}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: A\ntitle: [", ":2: not YAML"),
        ("name: A\nname: B\n", ":2: name: is given twice"),
        ("limits: {max_span_days: 1, max_span_days: 2}\n", ":1: max_span_days: is given twice"),
        ("- name: A\n", ":1: must hold the fields of one report type"),
        ("", ":1: must hold the fields of one report type"),
        ("name: !!python/object:os.system {}\n", "not YAML"),
        ("name: A\n---\nname: B\n", ":2: not YAML"),
        ("a: &a [*a]\n", ":1: not YAML: an alias holds itself"),
        ("name: \x00\n", "not YAML"),
    ],
)
def test_what_is_not_one_mapping_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    assert expected in mistakes(tmp_path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"name: \xff")
    assert "bad.yaml: can't be read" in mistakes(tmp_path)


def test_a_missing_or_empty_directory_is_refused(tmp_path: Path) -> None:
    assert "holds no report type" in mistakes(tmp_path)
    assert "No such file" in mistakes(tmp_path / "nowhere")
