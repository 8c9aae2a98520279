"""A shop of three pages. Two of them are about a person.

    python3 app.py [port]
"""

import html
import sys
from wsgiref.simple_server import make_server


def claim(environ, name):
    value = environ.get("HTTP_X_VIPPS_" + name.upper())
    # Caddy has written UTF-8, WSGI has read it as Latin-1. See ../wsgi for another way.
    return None if value is None else value.encode("latin-1").decode()


def application(environ, start_response):
    path, user = environ["PATH_INFO"], claim(environ, "sub")
    private = path.startswith(("/account", "/checkout"))
    # Caddy sends people to log in before they get here. The shop looks itself, too: it alone knows what
    # its addresses mean.
    if private and user is None:
        status, text = "403 Forbidden", "Nobody is logged in."
    elif path.startswith("/account"):
        status, text = "200 OK", f"Account of {claim(environ, 'name')}"
    elif path.startswith("/checkout"):
        bought = environ["REQUEST_METHOD"] == "POST"
        status, text = "200 OK", "Thank you!" if bought else f"Send it to {claim(environ, 'email')}?"
    elif user is None:
        status, text = "200 OK", "Welcome!"
    else:
        status, text = "200 OK", f"Welcome, {claim(environ, 'name')}!"
    start_response(status, [
        ("Content-Type", "text/html; charset=utf-8"),
        # A page that greets somebody by name is for nobody else.
        ("Cache-Control", "public, max-age=60" if user is None and not private else "no-store"),
        ("Vary", "Cookie"),
    ])
    return [f"""<!doctype html>
<meta charset=utf-8>
<h1>{html.escape(text)}</h1>
<p><a href="/vipps/login?return_to=/">Log in</a> <a href="/vipps/logout?return_to=/">Log out</a>
<a href="/account">Your account</a> <a href="/checkout">Check out</a>
""".encode()]


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with make_server("127.0.0.1", port, application) as server:
        print(f"Listening on 127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
