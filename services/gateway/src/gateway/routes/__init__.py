"""The HTTP routes: each decodes, makes one call and maps the result."""

from fastapi import APIRouter

from gateway.routes import download, jobs, report_types, submission

router = APIRouter()
router.include_router(submission.router)
router.include_router(jobs.router)
router.include_router(download.router)
router.include_router(report_types.router)

__all__ = ["router"]
