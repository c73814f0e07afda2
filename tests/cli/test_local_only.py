"""The server of the page answers its own machine, whatever name or site a request comes from."""

import asyncio

import pytest

from vofp_plugin.cli.local_only import LocalOnly

HERE = ("127.0.0.1", 50000)


def status_of(kind="http", client=HERE, **headers):
    """Status that a request gets; None where it is closed."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "client": client, "headers": raw}
    asyncio.run(LocalOnly(app)(scope, None, send))
    return sent[0].get("status")


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "localhost"])
def test_the_browser_of_this_machine_is_answered(host):
    assert status_of(host=host) == status_of(host=host, origin=f"http://{host}") == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "example.org"},  # a name that leads here
        {"host": "192.168.0.7:7860"},
        {},
        {"host": "localhost:7860", "origin": "https://example.org"},
        {"host": "localhost:7860", "origin": "http://localhost:8888"},
        {"host": "localhost:7860", "origin": "null"},
        {"host": "[broken", "origin": "http://[broken"},
    ],
)
def test_other_names_and_other_sites_are_refused(headers):
    assert status_of(**headers) == 403
    assert status_of("websocket", **headers) is None


def test_other_machines_are_refused():
    assert status_of(client=("192.168.0.9", 50000), host="localhost:7860") == 403
    assert status_of(client=None, host="localhost:7860") == 403


def test_the_server_may_start():
    assert status_of("lifespan") == 200
