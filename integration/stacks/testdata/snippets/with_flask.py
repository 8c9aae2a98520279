from flask import Flask, jsonify, request

app = Flask(__name__)


@app.route("/utf8")
def utf8():
    # SNIPPET utf8
    return jsonify(sub=sub, name=name, address=address)


@app.route("/percent")
def percent():
    # SNIPPET percent
    return jsonify(sub=sub, name=name, address=address)


@app.route("/base64url")
def base64url():
    # SNIPPET base64url
    return jsonify(sub=sub, name=name, address=address)
