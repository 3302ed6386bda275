"""What the page's server answers."""

import base64
import hashlib
import ipaddress
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from edgegal import __version__
from edgegal.device.web.live import Live
from edgegal.device.web.state import State, state_of

__all__ = ["create_app", "is_loopback"]

_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}, 404: {"description": "No frame yet."}}


def create_app(live: Live) -> FastAPI:
    """The application: the page, its picture and its state.

    Only requests that call the server by a loopback name are answered. Otherwise any web page could have its own name
    point here and read along in the observer's browser (DNS rebinding).

    The interactive documentation stays off, for it loads its programs from elsewhere; ``/openapi.json`` is there.
    """
    app = FastAPI(
        title="edgegal", summary="What the telescope sees.", version=__version__, docs_url=None, redoc_url=None
    )
    page = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    headers = {
        "Content-Security-Policy": _policy(page),
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response: Response
        if is_loopback(request.headers.get("host", "")):
            response = await answer(request)
        else:
            response = PlainTextResponse("edgegal answers to localhost and 127.0.0.1 only\n", status_code=400)
        response.headers.update(headers)
        return response

    @app.get("/", response_class=HTMLResponse, summary="The page")
    def index() -> str:
        return page

    @app.get("/view.jpg", response_class=Response, responses=_JPEG, summary="The last frame, annotated")
    def view() -> Response:
        picture = live.picture()
        if picture is None:
            raise HTTPException(404, "no frame yet")
        return Response(picture, media_type="image/jpeg")

    @app.get("/api/state", summary="The run at this moment")
    def state() -> State:
        return state_of(live.now)

    return app


def is_loopback(host: str) -> bool:
    """Whether a Host header, ``NAME`` or ``NAME:PORT``, names this computer itself by a name nobody else can give."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


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
