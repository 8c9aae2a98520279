// Package revocation knows the sessions that end before their time, and brings what each instance knows of them to all.
package revocation

// Entry ends sessions: the one named, or all of a person, of a merchant, or of everybody that
// began no later than Before.
type Entry struct {
	Session string `json:"session,omitempty"` // the id of one session, as text
	MSN     string `json:"msn,omitempty"`     // "" for every merchant
	Sub     string `json:"sub,omitempty"`     // "" for every person
	Before  int64  `json:"before"`            // seconds since 1970
	Until   int64  `json:"until"`             // when the last such session has ended by itself
}
