"""What every request passes before anything is done for it."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgegal.device.web.access import Access
from edgegal.device.web.names import Names

__all__ = ["COOKIE", "Guard", "cookie_of"]

COOKIE = "edgegal"
"""Name of the cookie of a session."""

_SAFE = {"GET", "HEAD", "OPTIONS"}
_LONGEST_BODY = 4096
# What shows nothing of the run.
_PUBLIC = {"/", "/api/login"}


class Guard:
    """Refuses requests by a foreign name, from a foreign page, without a session or with a body out of all proportion.

    Parameters
    ----------
    app
        What answers the others.
    names
        What the server may be called.
    access
        Who may look; everybody when None.
    headers
        Set on every answer that has no such header of its own.
    """

    def __init__(self, app: ASGIApp, names: Names, access: Access | None, headers: Mapping[str, str]) -> None:
        self._app = app
        self._names = names
        self._access = access
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, method: str, path: str, headers: Headers) -> Response | None:
        if headers.get("host", "") not in self._names:
            return _refused(400, "edgegal answers to localhost, 127.0.0.1 and the names it was given only")
        if method not in _SAFE and not _from_our_page(headers):
            return _refused(403, "this request comes from another site's page")
        if "transfer-encoding" in headers or not _is_short(headers.get("content-length", "0")):
            return _refused(413, f"a body has at most {_LONGEST_BODY} bytes, and says how many")
        if self._access is not None and path not in _PUBLIC and not self._access.knows(cookie_of(headers)):
            return _refused(401, "log in first")
        return None


def cookie_of(headers: Headers) -> str:
    """The session's cookie; empty when there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _from_our_page(headers: Headers) -> bool:
    """Whether a request that changes something comes from our own page, or from no page at all.

    Browsers say where a request comes from; programs that are none have nobody's session to abuse.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _is_short(length: str) -> bool:
    return length.isdecimal() and len(length) < 8 and int(length) <= _LONGEST_BODY


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"detail": why}, status_code=status)
