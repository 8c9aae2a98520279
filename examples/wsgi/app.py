"""A WSGI application that reads who the user is from the headers that Caddy sets.

    python3 app.py [port]
"""

import html
import json
import sys
from urllib.parse import unquote
from wsgiref.simple_server import make_server


def claim(environ, name):
    """The text of a claim, or None: X-Vipps-Phone-Number is claim(environ, "phone_number").

    unquote, and not unquote_plus: a plus is a plus here.
    """
    value = environ.get("HTTP_X_VIPPS_" + name.upper())
    return None if value is None else unquote(value)


def application(environ, start_response):
    if claim(environ, "sub") is None:  # not through Caddy, or a hole in the Caddyfile
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"Nobody is logged in.\n"]
    address = json.loads(claim(environ, "address") or "{}")
    lines = [
        "Hello " + claim(environ, "name"),
        "Phone: +" + (claim(environ, "phone_number") or ""),
        "Street: " + address.get("street_address", ""),
        "As it came: " + environ["HTTP_X_VIPPS_NAME"],
    ]
    page = "<!doctype html>\n<meta charset=utf-8>\n<p>" + "<br>\n".join(map(html.escape, lines))
    page += '\n<p><a href="/vipps/logout?return_to=/">Log out</a>\n'
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")])
    return [page.encode()]


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with make_server("127.0.0.1", port, application) as server:
        print(f"Listening on 127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
