"""How failures are answered: a sentence and the fitting status, as JSON under /api, as a page elsewhere."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from dataharvest.errors import DataHarvestError, Misconfigured, ObjectTrouble, Rejected, Unavailable
from dataharvest.web.render import page

_STATUS = {Rejected: 422, ObjectTrouble: 502, Unavailable: 503, Misconfigured: 500}
_RETRY_AFTER_S = "5"


def attach(application: FastAPI) -> None:
    """Give the application its answers to failures."""

    @application.exception_handler(DataHarvestError)
    async def failed(request: Request, error: DataHarvestError) -> Response:
        status = _STATUS.get(type(error), 500)
        rule = {"rule": error.rule} if isinstance(error, Rejected) else {}
        return _answer(request, status=status, message=error.message, **rule)

    @application.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _answer(request, status=error.status_code, message=str(error.detail))

    @application.exception_handler(ClientDisconnect)
    async def left(request: Request, _: ClientDisconnect) -> Response:
        # Nobody reads this; without it the server would log a fault of ours.
        return _answer(request, status=400, message="the sender went away; nothing was stored")

    @application.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg'].lower()}" for item in error.errors())
        return _answer(request, status=422, message=said)


def _answer(request: Request, *, status: int, message: str, **details: str) -> Response:
    headers = {"Retry-After": _RETRY_AFTER_S} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    if request.url.path.startswith("/api/"):
        return JSONResponse({"message": message, **details}, status_code=status, headers=headers)
    title = HTTPStatus(status).phrase
    return page("failure.html", {"title": title, "message": message, "status": status}, status=status, headers=headers)
