"""The HTTP routes: each decodes, makes one call and maps the result."""

from gateway.routes import actions, download, events, jobs, report_types, submission

ROUTES = (
    *submission.router.routes,
    *jobs.router.routes,
    *events.router.routes,
    *actions.router.routes,
    *download.router.routes,
    *report_types.router.routes,
)
"""All routes of the API. They go into the application flat: each router that FastAPI includes
is one more layer that every request has to pass."""

__all__ = ["ROUTES"]
