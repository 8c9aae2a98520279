"""Flask: see README.md."""

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.route("/", defaults={"path": ""})
@app.route("/<path:path>")
def seen(path):
    answer = jsonify(
        greeting="Så " + request.headers.get("X-Vipps-Name", ""),
        sub=request.headers.get("X-Vipps-Sub"),
        cookie=request.headers.get("Cookie"),
        headers=dict(request.headers),
    )
    if "sid=" not in request.headers.get("Cookie", ""):
        answer.headers["Set-Cookie"] = "sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax"
    return answer
