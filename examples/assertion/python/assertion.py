"""Who sent a request, as X-Vipps-Assertion proves it. Needs PyJWT and cryptography (Debian: python3-jwt, python3-cryptography).

    keys = jwt.PyJWKClient("https://shop.example.no/vipps/jwks.json", lifespan=300)  # once, for all requests
    user = check(keys, request.headers.get("X-Vipps-Assertion", ""), "https://shop.example.no", "123456")

Raises jwt.PyJWTError for whatever is no proof.
"""
import sys

import jwt


def check(keys, token, origin, msn):
    key = keys.get_signing_key_from_jwt(token)  # asks for the keys again where the kid is not among them
    claims = jwt.decode(
        token, key.key, algorithms=["ES256"], audience=origin, issuer=origin,
        options={"require": ["exp", "iat", "iss", "aud", "sub"]},
    )
    if not claims["sub"]:
        raise jwt.InvalidTokenError("about nobody")
    if claims.get("msn") != msn:
        raise jwt.InvalidTokenError("another merchant's")
    return claims


if __name__ == "__main__":  # for trying: assertion.py <address of the keys> <origin> <msn>, and the assertion as input
    try:
        print(check(jwt.PyJWKClient(sys.argv[1]), sys.stdin.read().strip(), sys.argv[2], sys.argv[3])["sub"])
    except jwt.PyJWTError as error:
        sys.exit(f"refused: {error}")
