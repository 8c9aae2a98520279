package simulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// The Management API, for partners: their sales units
// (https://developer.vippsmobilepay.com/docs/APIs/management-api/).

const (
	salesUnitsPath = "/management/v1/sales-units"
	merchantsPath  = "/management/v1/merchants"
)

// management serves what is below the Management API's paths.
func (s *Simulator) management(w http.ResponseWriter, r *http.Request) {
	if _, err := s.authenticateAPI(r); err != nil {
		err.write(w)
		return
	}
	rest, isUnits := strings.CutPrefix(r.URL.EscapedPath(), salesUnitsPath)
	switch {
	case isUnits && rest == "":
		writeJSON(w, http.StatusOK, s.salesUnits(func(*Merchant) bool { return true }))
	case isUnits:
		s.salesUnit(w, strings.TrimPrefix(rest, "/"))
	default:
		s.merchantsSalesUnits(w, strings.TrimPrefix(strings.TrimPrefix(r.URL.EscapedPath(), merchantsPath), "/"))
	}
}

// salesUnits lists active sales units. The msn is a number in lists.
func (s *Simulator) salesUnits(which func(*Merchant) bool) []map[string]any {
	units := []map[string]any{}
	for _, m := range s.merchants {
		if !m.Inactive && which(m) {
			units = append(units, map[string]any{"msn": json.Number(strings.TrimLeft(m.MSN, "0")), "name": m.Name})
		}
	}
	return units
}

// salesUnit tells the details of one. 404 means inactive, or not connected to the partner, too.
func (s *Simulator) salesUnit(w http.ResponseWriter, msn string) {
	m := s.merchantByMSN(msn)
	if m == nil || m.Inactive {
		notFound("There is no such sales unit, or it is not connected to you.").write(w)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"msn": m.MSN, "name": m.Name,
		"businessIdentifier": map[string]string{"scheme": businessScheme, "id": m.business()},
		"configuration":      map[string]any{},
	})
}

// merchantsSalesUnits lists those of one merchant: {scheme}/{id}/sales-units.
func (s *Simulator) merchantsSalesUnits(w http.ResponseWriter, path string) {
	parts := strings.Split(path, "/")
	if len(parts) != 3 || parts[2] != "sales-units" {
		notFound("There is nothing here.").write(w)
		return
	}
	scheme, _ := url.PathUnescape(parts[0])
	units := s.salesUnits(func(m *Merchant) bool { return scheme == businessScheme && m.business() == parts[1] })
	writeJSON(w, http.StatusOK, units)
}

const businessScheme = "business:NO:ORG"

// business is the organization number that a merchant has here: it is made of the MSN.
func (m *Merchant) business() string { return ("9" + m.MSN + "00000000")[:9] }

// authenticateAPI checks a call to the APIs for partners, and returns the sales unit that it is about: nil for all of the
// partner's.
func (s *Simulator) authenticateAPI(r *http.Request) (*Merchant, *oauthError) {
	if err := checkSystemHeaders(r.Header); err != nil {
		return nil, err
	}
	token, ok := bearerToken(r.Header)
	if _, known := s.partnerTokens.get(token); !ok || !known {
		return nil, unauthorized("Bearer", "invalid_client", "This is not a valid partner access token.")
	}
	key, err := requiredHeader(r.Header, "Ocp-Apim-Subscription-Key")
	if err != nil || !sameSecret(key, s.partner.SubscriptionKey) {
		return nil, unauthorized("Bearer", "invalid_client", "The header Ocp-Apim-Subscription-Key must have the partner's subscription key.")
	}
	if len(r.Header.Values(msnHeader)) == 0 {
		return nil, nil
	}
	msn, err := requiredHeader(r.Header, msnHeader)
	if err != nil {
		return nil, err
	}
	m := s.merchantByMSN(msn)
	if m == nil || m.Inactive {
		return nil, notConnected()
	}
	return m, nil
}
