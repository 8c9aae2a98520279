package merchant

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Line is what a line of a merchants file says about the merchant, as it is written there. Equal lines share one sales unit.
type Line struct{ MSN, ClientID, ClientSecret, Scope, Market, Claims, Audience string }

// FileColumns names the columns.
const FileColumns = "host, msn, client_id, client_secret, scope, market, claims, audience"

// columns has the index of each value in a line; -1 for none.
type columns struct{ host, msn, clientID, clientSecret, scope, market, claims, audience int }

// ReadFile reads a CSV file of merchants and calls add for each host, in order. Its errors begin with
// name and the line, and quote no text that may be a key.
func ReadFile(name string, from io.Reader, add func(host string, l Line) error) (hosts int, err error) {
	text := bufio.NewReader(from)
	if mark, _ := text.Peek(3); string(mark) == "\ufeff" { // a byte order mark, which spreadsheets write
		_, _ = text.Discard(3)
	}
	reader := csv.NewReader(text)
	reader.Comment, reader.TrimLeadingSpace, reader.ReuseRecord = '#', true, true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("%s:1: it is empty: begin with the line host,msn and write a line for each host", name)
	}
	if err != nil {
		return 0, csvError(name, err)
	}
	at, err := readColumns(header)
	if err != nil {
		return 0, lineError(name, reader, err)
	}
	none := lineError(name, reader, errors.New("no line comes after this one: write one for each host"))
	for ; ; hosts++ {
		fields, err := reader.Read()
		switch {
		case errors.Is(err, io.EOF) && hosts == 0:
			return 0, none
		case errors.Is(err, io.EOF):
			return hosts, nil
		case err != nil:
			return 0, csvError(name, err)
		}
		if err := add(at.read(fields)); err != nil {
			return 0, lineError(name, reader, err)
		}
	}
}

// readColumns reads the first line. Errors do not quote it: if it is missing, this line may have a key.
func readColumns(header []string) (columns, error) {
	at := columns{-1, -1, -1, -1, -1, -1, -1, -1}
	places := map[string]*int{
		"host": &at.host, "msn": &at.msn, "client_id": &at.clientID, "client_secret": &at.clientSecret, "scope": &at.scope, "market": &at.market,
		"claims": &at.claims, "audience": &at.audience,
	}
	for i, name := range header {
		place := places[strings.TrimSpace(name)]
		switch {
		case place == nil && len(header) == 1 && strings.Contains(name, ";"):
			return at, errors.New("this line has no comma and a semicolon: write commas between the columns")
		case place == nil:
			return at, fmt.Errorf("column %d has no name that is known: let the first line name the columns, of %s", i+1, FileColumns)
		case *place >= 0:
			return at, fmt.Errorf("column %d has the name of column %d: keep one of them", i+1, *place+1)
		}
		*place = i
	}
	switch {
	case at.host < 0 || at.msn < 0:
		return at, errors.New("a column is missing: host and msn must be there")
	case (at.clientID < 0) != (at.clientSecret < 0):
		return at, errors.New("a column is missing: client_id and client_secret go together")
	}
	return at, nil
}

func (at *columns) read(fields []string) (host string, l Line) {
	value := func(i int) string {
		if i < 0 {
			return ""
		}
		return strings.TrimSpace(fields[i])
	}
	return value(at.host), Line{value(at.msn), value(at.clientID), value(at.clientSecret), value(at.scope), value(at.market), value(at.claims), value(at.audience)}
}

func lineError(name string, reader *csv.Reader, err error) error {
	line, _ := reader.FieldPos(0)
	return fmt.Errorf("%s:%d: %w", name, line, err)
}

// csvError explains an error in the form of the file. Other errors are returned as they are.
func csvError(name string, err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	fix := `a quotation mark is out of place: put the whole value between two, and write each one in it twice`
	if errors.Is(parse.Err, csv.ErrFieldCount) {
		fix = "it has more or fewer columns than the first line: write a comma for a value that is not there, too"
	}
	return fmt.Errorf("%s:%d: %s", name, parse.StartLine, fix)
}
