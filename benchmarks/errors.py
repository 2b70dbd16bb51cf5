"""What ends a benchmark with one line instead of figures."""


class BenchmarkError(Exception):
    """Something answered in a way that makes the figures meaningless."""
