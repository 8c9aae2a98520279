package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
)

// p256Size is how many bytes a coordinate, and each half of a signature, has on
// the curve P-256.
const p256Size = 32

// jwk is the public half as the key set has it (RFC 7518, section 6).
func (key *signingKey) jwk() map[string]string {
	jwk := map[string]string{"use": "sig", "alg": key.alg, "kid": key.kid}
	switch private := key.private.(type) {
	case *rsa.PrivateKey:
		jwk["kty"] = "RSA"
		jwk["n"] = encode(private.N.Bytes())
		jwk["e"] = encode(big.NewInt(int64(private.E)).Bytes())
	case *ecdsa.PrivateKey:
		// The point is a byte that says how it is written, x, and y. Only a key
		// made by hand could fail.
		point, _ := private.PublicKey.Bytes()
		jwk["kty"], jwk["crv"] = "EC", "P-256"
		jwk["x"] = encode(point[1 : 1+p256Size])
		jwk["y"] = encode(point[1+p256Size:])
	}
	return jwk
}

// sign makes a JWS in compact form (RFC 7515, section 7.1). It is written out
// rather than left to a JWT library so that the plugin's library is tested
// against something else than itself.
func (key *signingKey) sign(header, claims map[string]any) (string, error) {
	head, err := encodePart(header)
	if err != nil {
		return "", err
	}
	payload, err := encodePart(claims)
	if err != nil {
		return "", err
	}
	signed := head + "." + payload
	hash := sha256.Sum256([]byte(signed))
	signature, err := key.signature(hash[:])
	return signed + "." + encode(signature), err
}

// signature is RS256 or ES256 (RFC 7518, section 3.3 and 3.4).
func (key *signingKey) signature(hash []byte) ([]byte, error) {
	private, ok := key.private.(*ecdsa.PrivateKey)
	if !ok {
		return rsa.SignPKCS1v15(nil, key.private.(*rsa.PrivateKey), crypto.SHA256, hash)
	}
	r, s, err := ecdsa.Sign(rand.Reader, private, hash)
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 2*p256Size)
	r.FillBytes(signature[:p256Size])
	s.FillBytes(signature[p256Size:])
	return signature, nil
}

func encodePart(v map[string]any) (string, error) {
	b, err := json.Marshal(v)
	return encode(b), err
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
