"""Revenue per day in one currency: orders from SQL, rates from another system, sums in Python.

A report plugin to copy: `report` says the steps, `rates` speaks with the other system, and
`aggregation` computes and knows neither.
"""

from sales_analytics.report import Parameters, plugin

__all__ = ["Parameters", "plugin"]
