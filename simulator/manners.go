package simulator

import "slices"

// Manners are ways in which real servers differ, or are known to have differed. Nobody here can call Vipps MobilePay, so
// where it is not known which way it behaves, a switch has both. docs/simulator.md says what is known of each.

// What basic_form can be.
const (
	basicAny     = "any"
	basicRaw     = "raw"
	basicEncoded = "encoded"
)

// What phone_id_token can be.
const (
	tokenFull   = "full"
	tokenSparse = "sparse"
)

// What phone_request_id can be: the name of the claim.
const (
	requestIDDocumented = "auth_req_id"
	requestIDSeen       = "authReqId"
)

// What phone_msn can be.
const (
	msnString = "string"
	msnNumber = "number"
	msnNone   = "none"
)

// What consent_jwt can be: how many parts the JWT of a revoked consent has.
const (
	jwtTwo    = "two"
	jwtTwoDot = "two_dot"
	jwtThree  = "three"
)

// Manners of ORY Hydra, which Vipps MobilePay's login is built on by its looks.
const (
	// hydraNoStore has the discovery document and the key set say that they must not be kept (26.2).
	hydraNoStore = "no_store"
	// hydraLastTab has the login page work for the tab of a browser that came there last (26.2 and 1.11).
	hydraLastTab = "last_tab"
	// hydraErrorRedirect leads to an error page at an address of its own, with the error in the query (26.2).
	hydraErrorRedirect = "error_redirect"
	// hydraOldKID puts the kid of the key that was there when the user approved into the ID token, which the new key
	// signs after a rotation (26.2).
	hydraOldKID = "old_kid"
	// hydraUserinfo has userinfo repeat claims of the ID token (26.2).
	hydraUserinfo = "userinfo_claims"
)

var (
	basicForms   = []string{basicAny, basicRaw, basicEncoded}
	tokenForms   = []string{tokenFull, tokenSparse}
	requestIDs   = []string{requestIDDocumented, requestIDSeen}
	msnForms     = []string{msnString, msnNumber, msnNone}
	consentForms = []string{jwtTwo, jwtTwoDot, jwtThree}
	hydraManners = []string{hydraNoStore, hydraLastTab, hydraErrorRedirect, hydraOldKID, hydraUserinfo}
)

// manners are those of one simulator.
type manners struct {
	basicForm, phoneIDToken, phoneRequestID, phoneMSN, consentJWT string
	hydra                                                         []string
}

func newManners(c Config) manners {
	return manners{c.BasicForm, c.PhoneIDToken, c.PhoneRequestID, c.PhoneMSN, c.ConsentJWT, slices.Clone(c.Hydra)}
}

// has reports whether a manner of ORY Hydra's is on.
func (m manners) has(hydra string) bool { return slices.Contains(m.hydra, hydra) }
