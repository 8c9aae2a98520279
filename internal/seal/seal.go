package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"unsafe"
)

// MinSecretBytes is the minimum length of a cookie secret: the size of the keys derived from it.
const MinSecretBytes = 32

// Keys holds one keyring for each purpose. Each purpose has a key of its own, so that a value
// sealed for one can never be taken for another.
type Keys struct {
	Session Keyring // session cookies
	Seen    Keyring // cookies with the time of a session's last use
	Login   Keyring // cookies of logins in progress
	State   Keyring // logins carried in the state parameter (return_in_any_browser)
	Phone   Keyring // logins from a phone number, in storage
	Revoked Keyring // the list of ended sessions, in storage

	Assertion   Keyring // signing keys of assertions, in storage
	SiteSession Keyring // the site's own session cookies

	// index makes names in storage that do not reveal what they are about: one HMAC key for each secret, the first for new
	// names.
	index [][]byte
}

// NewKeys derives all keys from the secrets. The first secret seals; all of them open. The keys depend on the environment:
// anybody can log in as anybody at a simulator, and must not be that user where production has the same secret.
func NewKeys(environment string, secrets []string) (*Keys, error) {
	keys := new(Keys)
	for purpose, ring := range map[string]*Keyring{
		"session":      &keys.Session,
		"seen":         &keys.Seen,
		"login":        &keys.Login,
		"state":        &keys.State,
		"phone":        &keys.Phone,
		"revoked":      &keys.Revoked,
		"assertion":    &keys.Assertion,
		"site session": &keys.SiteSession,
	} {
		for _, secret := range secrets {
			aead, err := newAEAD(environment, secret, purpose)
			if err != nil {
				return nil, err
			}
			*ring = append(*ring, aead)
		}
	}
	for _, secret := range secrets {
		key, err := deriveKey(environment, secret, "index")
		if err != nil {
			return nil, err
		}
		keys.index = append(keys.index, key)
	}
	return keys, nil
}

// IndexNames returns the names in storage for a value that must not be visible there, such as a phone number: the first name
// for writing, all of them for reading.
func (k *Keys) IndexNames(parts ...string) []string {
	var names []string
	for _, key := range k.index {
		mac := hmac.New(sha256.New, key)
		mac.Write(Context(parts...))
		names = append(names, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	}
	return names
}

// deriveKey derives the key for one purpose from a secret (HKDF, RFC 5869).
func deriveKey(environment, secret, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(secret), []byte(environment), "github.com/caddy-vipps/vippslogin "+purpose+" v1", 32)
}

// newAEAD returns AES-256-GCM with the key for one purpose.
func newAEAD(environment, secret, purpose string) (cipher.AEAD, error) {
	key, err := deriveKey(environment, secret, purpose)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	// Each value has a random nonce: NIST SP 800-38D section 8.3 allows 2^32 of them for one key. The docs say to rotate the
	// secret before that many logins.
	return cipher.NewGCMWithRandomNonce(block)
}

// Overhead is how many bytes the result of Seal is longer than the plaintext: the nonce and the tag.
const Overhead = 12 + 16

// Keyring seals with its first key and opens with any of them.
type Keyring []cipher.AEAD

// Seal encrypts and authenticates plaintext, bound to context: Open needs the same context.
func (k Keyring) Seal(plaintext, context []byte) []byte {
	return k[0].Seal(nil, nil, plaintext, context)
}

// SealOver is Seal, and writes the result over plaintext. It allocates nothing if plaintext has a capacity of Overhead bytes more.
func (k Keyring) SealOver(plaintext, context []byte) []byte {
	return k[0].Seal(plaintext[:0], nil, plaintext, context)
}

// Open decrypts the result of Seal with any key of the ring. It may overwrite sealed, which must not be used afterwards.
func (k Keyring) Open(sealed, context []byte) ([]byte, bool) {
	if len(k) == 1 {
		plaintext, err := k[0].Open(sealed[:0], nil, sealed, context)
		return plaintext, err == nil
	}
	for _, aead := range k {
		if plaintext, err := aead.Open(nil, nil, sealed, context); err == nil {
			return plaintext, true
		}
	}
	return nil, false
}

// Context joins the parts that a sealed value is bound to. No part has a NUL, so different lists give different bytes.
func Context(parts ...string) []byte {
	n := len(parts)
	for _, part := range parts {
		n += len(part)
	}
	context := make([]byte, 0, n)
	for _, part := range parts {
		context = append(append(context, part...), 0)
	}
	return context
}

// RandomBytes returns n bytes that nobody can guess.
func RandomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand documents it
	return b
}

// RandomText returns n bytes that nobody can guess, in base64url.
func RandomText(n int) string { return Text(RandomBytes(n)) }

// Text returns b in base64url, with one allocation where EncodeToString takes two.
func Text(b []byte) string {
	text := make([]byte, base64.RawURLEncoding.EncodedLen(len(b)))
	base64.RawURLEncoding.Encode(text, b)
	return unsafe.String(unsafe.SliceData(text), len(text)) // nothing else refers to text
}
