"""XLSX: a report as a workbook, written as its rows come."""

from report_worker.reports.xlsx.encoder import MOST_ROWS, XlsxEncoder

__all__ = ["MOST_ROWS", "XlsxEncoder"]
