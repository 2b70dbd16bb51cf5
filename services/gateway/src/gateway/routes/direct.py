"""Routes that FastAPI declares and documents, and whose functions are called without it."""

from collections.abc import Awaitable, Callable
from inspect import signature
from typing import Any, Final

from fastapi import Request
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.routes.services import Requires

_REQUEST: Final = "request"


class DirectRoute(APIRoute):
    """A route whose function takes the `request`, its tenant and texts of its path.

    FastAPI solves the parameters of a function anew for each request: it walks through all that
    the function depends on, and keeps stacks open for what that may want to close. That took as
    long as all else that happened to a request here. So what the function takes is looked at
    once, when it is declared, and then fetched by a call for each. Where it takes anything else,
    such as the parameters of a query, it is left to FastAPI.
    """

    def __init__(
        self, path: str, endpoint: Callable[..., Awaitable[Response]], **declared: Any
    ) -> None:
        super().__init__(path, endpoint, **declared)
        dependencies = self.dependant.dependencies
        self._tenants = {
            one.name: one.call
            for one in dependencies
            if one.name and isinstance(one.call, Requires)
        }
        self._texts = {field.name: field.alias for field in self.dependant.path_params}
        fetched = {_REQUEST, *self._tenants, *self._texts}
        is_all = len(self._tenants) == len(dependencies)
        if is_all and fetched == signature(endpoint).parameters.keys():
            self.app = self._answer
        else:
            # FastAPI's application would give it that stack; ours is Starlette's.
            self.app = AsyncExitStackMiddleware(self.app)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        given: dict[str, Any] = {_REQUEST: request}
        for name, requires in self._tenants.items():
            given[name] = await requires(request)
        for name, alias in self._texts.items():
            given[name] = scope["path_params"][alias]
        response = await self.endpoint(**given)
        await response(scope, receive, send)
