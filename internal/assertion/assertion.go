package assertion

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-vipps/vippslogin/internal/seal"
	"github.com/caddy-vipps/vippslogin/internal/userinfo"
)

// Subject is the user and the login that an assertion is about.
type Subject struct {
	Session string // the session's id
	Sub     string
	MSN     string
	Issuer  string // the public origin of the site
	Claims  []userinfo.Claim
}

// Signer signs the assertions of one site, once for a session and half of their lifetime.
type Signer struct {
	Memory   *Memory
	Audience string        // "" is the issuer
	Lifetime time.Duration // of an assertion
	Claims   []string      // those that are in it beside sub

	mu                sync.Mutex
	recent, before    map[signedFor]*signed // two generations, so that old entries are dropped
	generationStarted time.Time
}

// signedFor is the key of a cached assertion. A session has several origins if a site has several ports.
type signedFor struct{ session, msn, issuer string }

type signed struct {
	once  sync.Once
	at    time.Time
	token string
	err   error
}

// maxKept limits a generation of cached assertions, of about a kilobyte each.
const maxKept = 10_000

// Sign returns an assertion that is valid for at least half of its lifetime. It fails with state.ErrUnavailable if no key is
// known and the shared state is unavailable.
func (s *Signer) Sign(ctx context.Context, at Access, about Subject, now time.Time) (string, error) {
	id := signedFor{about.Session, about.MSN, about.Issuer}
	entry := s.entry(id, now)
	entry.once.Do(func() { entry.token, entry.err = s.sign(context.WithoutCancel(ctx), at, about, entry.at) })
	if entry.err != nil {
		s.forget(id, entry) // the next request tries again
	}
	return entry.token, entry.err
}

// entry returns the cached entry of a session, or a new one if there is none or it is past half of its lifetime.
func (s *Signer) entry(id signedFor, now time.Time) *signed {
	half := s.Lifetime / 2
	s.mu.Lock()
	defer s.mu.Unlock()
	entry := s.recent[id]
	if entry == nil {
		entry = s.before[id]
	}
	if entry != nil && now.Sub(entry.at) < half && !now.Before(entry.at.Add(-half)) {
		return entry
	}
	if s.recent == nil || now.Sub(s.generationStarted) > half || len(s.recent) >= maxKept {
		s.before, s.recent, s.generationStarted = s.recent, make(map[signedFor]*signed), now
	}
	entry = &signed{at: now}
	s.recent[id] = entry
	return entry
}

func (s *Signer) forget(id signedFor, failed *signed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recent[id] == failed {
		delete(s.recent, id)
	}
	if s.before[id] == failed {
		delete(s.before, id)
	}
}

func (s *Signer) sign(ctx context.Context, at Access, about Subject, now time.Time) (string, error) {
	ring, err := s.Memory.get(ctx, at, about.MSN, now)
	if err != nil {
		return "", err
	}
	k := ring.current(now)
	token := jwt.NewWithClaims(jwt.SigningMethodES256, s.claims(about, now))
	token.Header["kid"] = k.ID
	return token.SignedString(k.signer)
}

func (s *Signer) claims(about Subject, now time.Time) jwt.MapClaims {
	claims := jwt.MapClaims{}
	for _, name := range s.Claims {
		for _, c := range about.Claims {
			if c.Name == name {
				claims[name] = json.RawMessage(userinfo.Value(c))
			}
		}
	}
	audience := s.Audience
	if audience == "" {
		audience = about.Issuer
	}
	// After those of userinfo, so that none of them can replace one of these.
	for name, value := range map[string]any{
		"iss": about.Issuer, "aud": audience, "sub": about.Sub, "msn": about.MSN,
		"iat": now.Unix(), "exp": now.Add(s.Lifetime).Unix(), "jti": seal.RandomText(16),
	} {
		claims[name] = value
	}
	return claims
}

// Size returns the maximum length of an assertion about a subject, in characters.
func (s *Signer) Size(about Subject) int {
	header, _ := json.Marshal(map[string]string{"alg": "ES256", "typ": "JWT", "kid": seal.RandomText(12)})
	payload, _ := json.Marshal(s.claims(about, time.Now()))
	encoded := base64.RawURLEncoding.EncodedLen
	return encoded(len(header)) + 1 + encoded(len(payload)) + 1 + encoded(64)
}

// PublicKeys returns the keys that check the assertions of a merchant, as a JWK Set (RFC 7517 section 5): also the next
// one, before it signs, and earlier ones for as long as assertions that they signed are valid.
func (m *Memory) PublicKeys(ctx context.Context, at Access, msn string, now time.Time) ([]byte, error) {
	ring, err := m.get(ctx, at, msn, now)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	for _, k := range ring.keys {
		point, err := k.signer.PublicKey.Bytes() // 4, X and Y (SEC 1 section 2.3.3)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, jwk{Type: "EC", Curve: "P-256", Use: "sig", Alg: "ES256", ID: k.ID,
			X: coordinate(point[1:33]), Y: coordinate(point[33:])})
	}
	return json.Marshal(set)
}

// coordinate writes one of 32 bytes, leading zeros included (RFC 7518 section 6.2.1.2).
func coordinate(bytes []byte) string { return base64.RawURLEncoding.EncodeToString(bytes) }
