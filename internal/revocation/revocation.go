// Package revocation knows the sessions that end before their time, and brings what each instance knows of them to all.
package revocation

// Entry revokes sessions: the one with an id, or all that began no later than Before, of a user, of a merchant, or of
// everybody.
type Entry struct {
	Session string `json:"session,omitempty"` // the id of one session, as text
	MSN     string `json:"msn,omitempty"`     // "" for every merchant
	Sub     string `json:"sub,omitempty"`     // "" for every user
	Before  int64  `json:"before"`            // seconds since 1970
	Until   int64  `json:"until"`             // when the last such session has expired
}
