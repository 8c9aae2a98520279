"""Stands for Grafana and its like: logs in whoever a header names, and refuses without.

    python3 app.py <grafana.ini> [port]

It reads [auth.proxy] as Grafana does. Unlike Grafana it takes X_WEBAUTH_USER for X-WEBAUTH-USER, as
everything behind CGI, WSGI or Rack does.
"""

import configparser
import html
import sys
from wsgiref.simple_server import make_server

config = configparser.ConfigParser()
with open(sys.argv[1], encoding="utf-8") as file:
    config.read_file(file)
proxy = config["auth.proxy"]


def header(environ, field):
    value = environ.get("HTTP_" + field.upper().replace("-", "_"))
    # WSGI has read the UTF-8 as Latin-1.
    return None if value is None else value.encode("latin-1").decode()


def application(environ, start_response):
    user = header(environ, proxy["header_name"]) if proxy.getboolean("enabled") else None
    if environ["REMOTE_ADDR"] not in proxy["whitelist"].replace(",", " ").split() or not user:
        start_response("401 Unauthorized", [("Content-Type", "text/plain")])
        return [b"Log in first.\n"]
    account = {"Login": user, "Role": "Viewer"}
    for pair in proxy["headers"].split():
        attribute, field = pair.split(":")
        account[attribute] = header(environ, field) or account.get(attribute, "")
    page = "".join(f"{attribute}: {html.escape(value)}\n" for attribute, value in account.items())
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [("<!doctype html><meta charset=utf-8><pre>\n" + page).encode()]


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    with make_server("127.0.0.1", port, application) as server:
        print(f"Listening on 127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
