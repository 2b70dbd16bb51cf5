"""How PostgreSQL plans the worker's statements: once for each session, and by index."""

from typing import Final

PLANNING: Final = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
"""Settings of the worker's sessions.

A queue is empty at one moment and long at the next. A plan that is made and kept while it is empty
may read the table as a whole, which goes unnoticed until the next ANALYZE: with 100,000 runs a beat
then takes 400 ms instead of 0.4. A plan for each execution would know better, but takes longer to
make than to execute. The statements here all have an index for whatever they look up.
"""
