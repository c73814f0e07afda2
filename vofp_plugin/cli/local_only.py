"""Local only: a server passes on what a page of this machine asks for, and refuses the rest."""

from urllib.parse import urlsplit

LOCAL = ("127.0.0.1", "::1", "localhost")
REFUSAL = b"This page answers its own machine only."


class LocalOnly:
    """ASGI application before another one, which answers the browser of this machine alone.

    The address of a server keeps other machines out. It does not keep out pages of other sites in
    that browser, which send their own `Origin`, or call this server by a name of their own.

    Arguments
    ---------
    app : callable
        The ASGI application behind.
    """

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Passes a request on, or answers 403."""
        if scope["type"] == "lifespan" or is_local(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSAL})


def is_local(scope):
    """Whether client, host and origin of an ASGI request are those of a page of this machine.

    Example
    -------
    >>> headers = [(b"host", b"localhost:7860")]
    >>> is_local({"client": ("127.0.0.1", 4000), "headers": headers})
    True
    >>> headers += [(b"origin", b"https://example.org")]
    >>> is_local({"client": ("127.0.0.1", 4000), "headers": headers})
    False
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host, origin = headers.get(b"host", ""), headers.get(b"origin")
    (address, _) = scope["client"] or ("", 0)
    return address in LOCAL and _name(f"//{host}") in LOCAL and origin in (None, f"http://{host}")


def _name(url):
    """Name of the host of a URL, or None where it is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
