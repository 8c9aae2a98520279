// Package simulator is a Vipps MobilePay Login for people without production
// keys: partner keys work only in Vipps' production environment, so without it
// nobody could try or test the plugin before going live.
//
// It is as strict as the real thing where a mistake would show only in
// production: exact redirect URIs, authorization codes that work once, PKCE, a
// partner access token with a Merchant-Serial-Number, the system headers, polls
// that keep their interval, and a userinfo endpoint that refuses a subscription
// key. A person, or a test, picks the user on the consent page, and answers
// logins from a phone number on the phone page.
//
// It proves nobody's identity, so it answers on loopback only (see guard.go),
// and no setting changes that. Production builds do not import this package.
//
// [Simulator] is a plain [http.Handler] for Go tests; [Handler] is the Caddy
// module http.handlers.vipps_simulator around it.
package simulator

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Lifetimes of what the simulator hands out. Vipps documents "a couple of
// minutes" for the authorization code and about ten for the access token at
// userinfo, although the token answer says expires_in 3599.
const (
	consentLifetime     = 10 * time.Minute
	codeLifetime        = 2 * time.Minute
	accessTokenLifetime = 10 * time.Minute
	phoneTokenLifetime  = 300 * time.Second
	idTokenLifetime     = time.Hour

	// phoneLoginKept is longer than any login from a phone number lasts, so that
	// a late poll learns that it has expired.
	phoneLoginKept = 2 * maxExpiry
)

// Simulator plays Vipps MobilePay Login over HTTP. Make one with [New]. It is
// safe for concurrent use, starts no goroutine and needs no closing: everything
// it remembers is in memory, expires, and is limited in number.
type Simulator struct {
	baseURL       string
	partner       Partner
	merchants     []*Merchant
	users         []*User
	tokenLifetime time.Duration
	pollInterval  time.Duration

	manners    manners
	endpoints  map[string]endpoint
	keys       *keyRing
	phoneKeys  *keyRing // of logins from a phone number; may be keys itself
	pingClient *http.Client

	partnerTokens *store[struct{}]
	transactions  *store[transaction]
	codes         *store[authorizationCode]
	accessTokens  *store[login]
	phoneTokens   *store[login]  // access tokens of logins from a phone number
	redeemed      *store[string] // access tokens by the code that gave them

	phoneMu     sync.Mutex // guards what phoneLogins points to
	phoneLogins *store[*phoneLogin]
	phoneCodes  *store[*phoneLogin]

	mu         sync.Mutex
	calls      map[string]int
	asked      map[consentKey]bool
	registered []*registration
	faults     Faults
}

// endpoint is one row of the table that ServeHTTP looks requests up in.
type endpoint struct {
	name    string // what Calls counts it as; empty: not counted
	methods []string
	serve   http.HandlerFunc
}

// New makes a simulator of config, or says which field is wrong.
func New(config Config) (*Simulator, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	lifetime := time.Duration(config.TokenLifetime)
	s := &Simulator{
		baseURL:       config.BaseURL,
		partner:       config.Partner,
		tokenLifetime: lifetime,
		pollInterval:  time.Duration(config.PollInterval),
		keys:          newKeyRing(algRS256),
		pingClient:    newPingClient(),
		partnerTokens: newStore[struct{}](lifetime),
		transactions:  newStore[transaction](consentLifetime),
		codes:         newStore[authorizationCode](codeLifetime),
		accessTokens:  newStore[login](accessTokenLifetime),
		phoneTokens:   newStore[login](phoneTokenLifetime),
		manners:       newManners(config),
		redeemed:      newStore[string](accessTokenLifetime),
		phoneLogins:   newStore[*phoneLogin](phoneLoginKept),
		phoneCodes:    newStore[*phoneLogin](codeLifetime),
		calls:         map[string]int{},
		asked:         map[consentKey]bool{},
	}
	s.phoneKeys = s.keys
	if config.PhoneSigningAlg == algES256 {
		s.phoneKeys = newKeyRing(algES256)
	}
	for i := range config.Merchants {
		s.merchants = append(s.merchants, &config.Merchants[i])
	}
	for i := range config.Users {
		s.users = append(s.users, &config.Users[i])
	}
	s.route()
	return s, nil
}

// Paths below the API base, as Vipps' discovery document and API reference
// have them.
const (
	discoveryPath   = "/access-management-1.0/access/.well-known/openid-configuration"
	jwksPath        = "/access-management-1.0/access/.well-known/jwks.json"
	authorizePath   = "/access-management-1.0/access/oauth2/auth"
	tokenPath       = "/access-management-1.0/access/oauth2/token"
	userinfoPath    = "/vipps-userinfo-api/userinfo"
	accessTokenPath = "/accesstoken/get"
	backchannelPath = "/vipps-login-ciba/api/backchannel/authentication"
	userExistsPath  = "/vipps-login-ciba/api/v1/user-exists"

	// The simulator's own pages. Vipps has nothing under this name.
	indexPath   = "/_simulator/"
	callsPath   = "/_simulator/calls"
	consentPath = "/_simulator/consent"
	phonePath   = "/_simulator/phone"
	revokePath  = "/_simulator/revoke"
	failedPath  = "/_simulator/error"
	stylePath   = "/_simulator/style.css"
)

// route fills the table of endpoints. Not an http.ServeMux: that one redirects
// unclean paths, and here anything but the exact path is 404.
func (s *Simulator) route() {
	read := []string{http.MethodGet, http.MethodHead}
	get := []string{http.MethodGet}
	post := []string{http.MethodPost}
	s.endpoints = map[string]endpoint{
		discoveryPath:   {"discovery", read, s.discovery},
		jwksPath:        {"jwks", read, s.jwks},
		accessTokenPath: {"accesstoken", post, s.accessToken},
		authorizePath:   {"authorize", get, s.authorize},
		consentPath:     {"consent", post, s.consent},
		tokenPath:       {"token", post, s.token},
		userinfoPath:    {"userinfo", get, s.userinfo},
		backchannelPath: {"backchannel", post, s.backchannel},
		userExistsPath:  {"exists", post, s.userExists},
		phonePath:       {"phone", append(post, read...), s.phone},
		salesUnitsPath:  {"management", get, s.management},
		webhooksPath:    {"webhooks", append(get, post...), s.webhooks},
		revokePath:      {"", post, s.revoke},
		failedPath:      {"", read, s.failed},
		indexPath:       {"", read, s.index},
		callsPath:       {"", read, s.callCounts},
		stylePath:       {"", read, s.style},
	}
}

// ServeHTTP answers as Vipps MobilePay would, and 403 to anyone who is not on
// this machine.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !fromThisMachine(r) {
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// The path as it was sent: an encoded slash is not a slash.
	e, ok := s.endpointOf(r.URL.EscapedPath())
	if !ok {
		s.count("other")
		http.NotFound(w, r)
		return
	}
	s.count(e.name)
	if !slices.Contains(e.methods, r.Method) {
		w.Header().Set("Allow", strings.Join(e.methods, ", "))
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	e.serve(w, r)
}

// endpointOf finds the endpoint of a path. Below those of the APIs for partners there are more.
func (s *Simulator) endpointOf(path string) (endpoint, bool) {
	switch {
	case strings.HasPrefix(path, salesUnitsPath+"/"), strings.HasPrefix(path, merchantsPath+"/"):
		return s.endpoints[salesUnitsPath], true
	case strings.HasPrefix(path, webhooksPath+"/"):
		return endpoint{"webhooks", []string{http.MethodDelete}, s.webhooks}, true
	}
	e, ok := s.endpoints[path]
	return e, ok
}

// base is the API base of the answers: the configured one, or the one the
// request came to. Taking it from the Host header is safe here, since the guard
// has let only loopback names through.
func (s *Simulator) base(r *http.Request) string {
	switch {
	case s.baseURL != "":
		return s.baseURL
	case r.TLS != nil:
		return "https://" + r.Host
	default:
		return "http://" + r.Host
	}
}

func (s *Simulator) merchantByMSN(msn string) *Merchant {
	return s.findMerchant(func(m *Merchant) bool { return m.MSN == msn })
}

func (s *Simulator) merchantByClientID(id string) *Merchant {
	return s.findMerchant(func(m *Merchant) bool { return m.ClientID == id })
}

func (s *Simulator) findMerchant(match func(*Merchant) bool) *Merchant {
	if i := slices.IndexFunc(s.merchants, match); i >= 0 {
		return s.merchants[i]
	}
	return nil
}

func (s *Simulator) userByPhone(number string) *User {
	return s.findUser(func(u *User) bool { return u.PhoneNumber == number })
}

// userByToken takes what tokenPattern has let through, so never an empty token,
// which would be anybody's who has none.
func (s *Simulator) userByToken(token string) *User {
	return s.findUser(func(u *User) bool { return u.CustomerToken == token })
}

func (s *Simulator) findUser(match func(*User) bool) *User {
	if i := slices.IndexFunc(s.users, match); i >= 0 {
		return s.users[i]
	}
	return nil
}
