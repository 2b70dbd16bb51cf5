"""The lexer that finds named parameters in an operator's SQL."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalogue.sql import SqlTemplateError, parse_sql


def rendered(sql: str, **expressions: str) -> str:
    return parse_sql(sql).render(expressions)


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT :a", {"a"}),
        ("SELECT :a, :b_2, :a", {"a", "b_2"}),
        ("SELECT x::date, y :: int, :a::text", {"a"}),
        ("SELECT ':a', 'it''s :b', :c", {"c"}),
        (r"SELECT E'\':a', e'\\', :c", {"c"}),
        ("SELECT E'a'\n  '\\':b', :c", {"c"}),
        ("SELECT U&'d\\0061t :a', B'1', :c", {"c"}),
        ('SELECT ":a", "say "":b""", :c', {"c"}),
        ("SELECT $$ :a ' $$, $q$ :b $$ $q$, :c", {"c"}),
        ("SELECT 1 -- :a ' $$\n, :c", {"c"}),
        ("SELECT 1 /* :a /* ' nested */ :b */, :c", {"c"}),
        ("SELECT foo$bar$ FROM t WHERE x = :c", {"c"}),
        ("SELECT f(x := :c), a[1: 2]", {"c"}),
        ("SELECT 1 WHERE x=:c-- :d", {"c"}),
        ("SELECT 10:c", {"c"}),
        ("(SELECT :c)", {"c"}),
        ("WITH t AS (SELECT 1) SELECT :größe FROM t", {"größe"}),
    ],
)
def test_parameters_are_found_only_where_sql_reads_code(sql: str, names: set[str]) -> None:
    assert parse_sql(sql).parameter_names == names


def test_values_take_their_places_in_parentheses_and_the_rest_stays() -> None:
    sql = "SELECT ':a', :a::text /* :a */ WHERE d < :to_date + 1"
    assert rendered(sql, a="'x'::text", to_date="'2024-01-31'::date") == (
        "SELECT ':a', ('x'::text)::text /* :a */ WHERE d < ('2024-01-31'::date) + 1"
    )


@pytest.mark.parametrize("end", [";", "; ", ";\n-- done; really\n", "; /* ; */", ";;"])
def test_a_trailing_semicolon_is_dropped(end: str) -> None:
    assert rendered("SELECT 1" + end) == "SELECT 1"


@pytest.mark.parametrize(
    ("sql", "reason", "line"),
    [
        ("", "is empty", 1),
        ("-- nothing\n", "is empty", 1),
        ("SELECT 1;\nDELETE FROM t", "more than one statement", 2),
        ("DELETE FROM t", "must be a query", 1),
        ("SELECT 'abc", "never closed", 1),
        ("SELECT 1,\n  E'abc\\'", "never closed", 2),
        ('SELECT "abc', "never closed", 1),
        ("SELECT $q$ abc $$", "never closed", 1),
        ("SELECT 1\n/* /* */", "never closed", 2),
        ("SELECT\n\n$1", "write :name", 3),
        ("SELECT 1\0", "NUL", 1),
    ],
)
def test_what_cannot_be_a_reports_query_is_refused_with_its_line(
    sql: str, reason: str, line: int
) -> None:
    with pytest.raises(SqlTemplateError, match=reason) as refused:
        parse_sql(sql)
    assert refused.value.line == line


QUIET = st.text(alphabet=st.sampled_from("ab1 _,()+\n\té漢"), max_size=8)
SEGMENTS = st.one_of(
    QUIET.map(lambda text: (text, None)),
    st.text(max_size=8).map(lambda t: ("'" + t.replace("'", "''") + "'", None)),
    st.text(max_size=8).map(lambda t: ('"' + t.replace('"', '""') + '"', None)),
    st.text(max_size=8).map(lambda t: ("$t$" + t.replace("$", "") + "$t$", None)),
    st.text(max_size=8).map(lambda t: ("--" + t.replace("\n", "") + "\n", None)),
    st.text(max_size=8).map(lambda t: ("/*" + t.replace("*", "").replace("/", "") + "*/", None)),
    st.sampled_from(["x", "from_date"]).map(lambda name: (":" + name, name)),
    st.just(("::date", None)),
)


@given(st.lists(SEGMENTS, max_size=12))
def test_any_mixture_of_quoting_keeps_its_text_and_its_parameters(
    segments: list[tuple[str, str | None]],
) -> None:
    """Segments stand apart by spaces; what is quoted is never code and comes back unchanged."""
    template = parse_sql("SELECT " + " ".join(text for text, _ in segments))
    names = [name for _, name in segments if name]
    assert template.parameter_names == set(names)
    expected = " ".join(f"(<{name}>)" if name else text for text, name in segments)
    assert template.render({"x": "<x>", "from_date": "<from_date>"}) == "SELECT " + expected


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(SqlTemplateError):
        template = parse_sql("SELECT " + text)
        kept = "".join(
            piece if isinstance(piece, str) else f":{piece.name}" for piece in template.pieces
        )
        assert ("SELECT " + text).startswith(kept)
