"""The HTTP API of report-jobs."""
