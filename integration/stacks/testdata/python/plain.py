"""Plain WSGI: see README.md."""

import json


def application(environ, start_response):
    headers = [("Content-Type", "application/json")]
    if "sid=" not in environ.get("HTTP_COOKIE", ""):
        headers.append(("Set-Cookie", "sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax"))
    start_response("200 OK", headers)
    seen = {
        "greeting": "Så " + environ.get("HTTP_X_VIPPS_NAME", ""),
        "sub": environ.get("HTTP_X_VIPPS_SUB"),
        "cookie": environ.get("HTTP_COOKIE"),
        "headers": {name: value for name, value in environ.items() if name.startswith("HTTP_")},
    }
    return [json.dumps(seen).encode()]
