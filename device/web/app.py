"""What the page's server answers."""

import base64
import hashlib
import re
from collections.abc import Callable
from importlib import resources
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import APIKeyCookie
from pydantic import BaseModel

from edgegal import __version__
from edgegal.device.web.access import SESSION_S, Access, TooManyFailuresError, WrongPasswordError
from edgegal.device.web.guard import COOKIE, Guard, cookie_of
from edgegal.device.web.live import Live
from edgegal.device.web.names import Names
from edgegal.device.web.shared import Shared
from edgegal.device.web.state import (
    ControlsState,
    HistoryState,
    Login,
    Problem,
    Sightings,
    SightingState,
    State,
    Turned,
    controls_of,
    history_of,
    sighting_of,
    sightings_of,
    state_of,
)
from edgegal.errors import EdgegalError, InputError

__all__ = ["create_app"]

_Answers = dict[int | str, dict[str, Any]]


def _problem(why: str) -> dict[str, Any]:
    return {"model": Problem, "description": why}


_REFUSALS: _Answers = {
    400: _problem("The Host header is none of the server's names."),
    401: _problem("No session; only where the page has a password."),
    413: _problem("The body is too long, or does not say how long it is."),
    422: _problem("The request is not as described here."),
}
_FOREIGN: _Answers = {403: _problem("The request comes from another site's page.")}
_UNCHANGED: _Answers = {304: {"description": "What the reader has, by If-None-Match, is what there is."}}
_JPEG: _Answers = {200: {"content": {"image/jpeg": {}}, "description": "A picture."}, **_UNCHANGED}

_SightingNumber = Annotated[int, Path(ge=1, le=2**53, description="Number of the sighting.")]


def create_app(live: Live, names: Names, access: Access | None = None) -> FastAPI:
    """The application: the page, its pictures, the state of the run and its dials.

    The interactive documentation stays off, for it loads its programs from elsewhere; ``/openapi.json`` is there.

    Parameters
    ----------
    live
        What is shown.
    names
        What the server may be called.
    access
        Who may look; everybody when None.
    """
    page = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    app = FastAPI(
        title="edgegal",
        summary="What the telescope sees.",
        description="Every answer has an ETag where it can, so that a reader asks often and gets little.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        responses=_REFUSALS,
    )
    app.add_middleware(Guard, names=names, access=access, headers=_headers(page))

    @app.exception_handler(RequestValidationError)
    def unfit(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        # Without what was sent: it may be a password, or a number that JSON has no word for.
        return JSONResponse({"detail": f"{where}: {first['msg']}"}, status_code=422)

    @app.get("/", response_class=HTMLResponse, summary="The page")
    def index() -> str:
        return page

    if access is not None:
        app.include_router(_doors(access))
    # For the document only: the guard has seen to it already.
    session = Security(APIKeyCookie(name=COOKIE, auto_error=False, description="What /api/login sets."))
    guarded = [] if access is None else [session]
    app.include_router(_pictures(live), dependencies=guarded)
    app.include_router(_documents(live, access is not None), dependencies=guarded)
    app.include_router(_actions(live), dependencies=guarded)
    return app


def _doors(access: Access) -> APIRouter:
    router = APIRouter(tags=["session"])

    @router.post(
        "/api/login",
        summary="Begin a session",
        status_code=204,
        responses={
            **_FOREIGN,
            401: _problem("Wrong password."),
            429: _problem("Too many wrong ones: see Retry-After."),
        },
    )
    def log_in(login: Login, request: Request) -> Response:
        address = request.client.host if request.client else ""
        try:
            cookie = access.log_in(login.password, address)
        except WrongPasswordError as error:
            raise HTTPException(401, str(error)) from None
        except TooManyFailuresError as error:
            raise HTTPException(429, str(error), {"Retry-After": str(error.wait_s)}) from None
        answer = Response(status_code=204)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, cookie, max_age=SESSION_S, httponly=True, samesite="strict", secure=secure)
        return answer

    @router.post("/api/logout", summary="End the session", status_code=204, responses=_FOREIGN)
    def log_out(request: Request) -> Response:
        access.log_out(cookie_of(request.headers))
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return router


def _pictures(live: Live) -> APIRouter:
    router = APIRouter(tags=["pictures"])

    @router.get(
        "/view.jpg",
        response_class=Response,
        responses={**_JPEG, 404: _problem("No frame yet.")},
        summary="What the telescope sees",
    )
    def view(
        request: Request,
        show: Annotated[
            Literal["stack", "frame"], Query(description="The stack, or the last frame by itself; one without a stack.")
        ] = "stack",
        boxes: Annotated[bool, Query(description="Whether a box and a class are drawn on each galaxy.")] = True,
    ) -> Response:
        picture = live.picture(show == "frame", boxes)
        if picture is None:
            raise HTTPException(404, "no frame yet")
        return _tagged(request, picture, "image/jpeg")

    @router.get(
        "/crops/{number}.jpg",
        response_class=Response,
        responses={**_JPEG, 404: _problem("No such sighting, or it ended long ago.")},
        summary="The surroundings of a sighting",
    )
    def crop(request: Request, number: _SightingNumber) -> Response:
        picture = live.crop(number)
        if picture is None:
            raise HTTPException(404, "no such sighting")
        return _tagged(request, picture, "image/jpeg")

    return router


def _documents(live: Live, locked: bool) -> APIRouter:
    router = APIRouter(tags=["run"], responses=_UNCHANGED)
    made: Shared[bytes] = Shared(3)

    def answer(request: Request, make: Callable[[], BaseModel]) -> Response:
        key = (make, live.moment.version, live.controls.now, live.marked, live.vitals)
        body = made.get(key, lambda: make().model_dump_json(by_alias=True).encode())
        return _tagged(request, body, "application/json")

    def state_now() -> State:
        return state_of(live, locked)

    def sightings_now() -> Sightings:
        return sightings_of(live)

    def history_now() -> HistoryState:
        return history_of(live)

    @router.get("/api/state", response_model=State, summary="The run at this moment")
    def state(request: Request) -> Response:
        return answer(request, state_now)

    @router.get("/api/sightings", response_model=Sightings, summary="The sightings of the run")
    def sightings(request: Request) -> Response:
        return answer(request, sightings_now)

    @router.get("/api/history", response_model=HistoryState, summary="Frames and latency over time")
    def history(request: Request) -> Response:
        return answer(request, history_now)

    return router


def _actions(live: Live) -> APIRouter:
    router = APIRouter(tags=["run"], responses=_FOREIGN)

    @router.post("/api/controls", summary="Turn dials", responses={409: _problem("This run has no such dial.")})
    def turn(turned: Turned) -> ControlsState:
        try:
            live.controls.turn(**turned.model_dump(exclude_none=True))
        except InputError as error:
            raise HTTPException(409, str(error)) from None
        return controls_of(live.controls)

    @router.post("/api/controls/reset", summary="Turn all dials back")
    def reset() -> ControlsState:
        live.controls.reset()
        return controls_of(live.controls)

    @router.post(
        "/api/sightings/{number}/false",
        summary="Call a sighting a false detection",
        responses={404: _problem("No such sighting."), 503: _problem("The mark could not be kept.")},
    )
    def call_false(number: _SightingNumber) -> SightingState:
        try:
            sighting = live.report_false(number)
        except (EdgegalError, OSError) as error:
            raise HTTPException(503, f"the mark could not be kept: {error}") from None
        if sighting is None:
            raise HTTPException(404, "no such sighting")
        now = live.now
        seen = now.frame is not None and any(s.id == number for s in now.frame.seen)
        return sighting_of(live, sighting, seen, ended=any(s.id == number for s in now.ended))

    return router


def _tagged(request: Request, body: bytes, media_type: str) -> Response:
    """An answer that a reader who has it already need not get again."""
    tag = f'"{hashlib.blake2s(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def _headers(page: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": _policy(page),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def _policy(page: str) -> str:
    """Content security policy that lets the page run its own script and style and nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(page, 'script')}",
            f"style-src {_hash(page, 'style')}",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hash(page: str, element: str) -> str:
    """CSP source of the text of the page's one inline `element`."""
    (text,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
