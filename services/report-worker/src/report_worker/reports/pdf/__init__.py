"""PDF: a report as a document that a person would send on."""

from report_worker.reports.pdf.typeset import export_pdf

__all__ = ["export_pdf"]
