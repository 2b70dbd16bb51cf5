"""PDF: a report as a document that a person would send on."""

from report_worker.reports.pdf.typeset import write_pdf

__all__ = ["write_pdf"]
