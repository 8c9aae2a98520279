package vippslogin

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// What is sealed starts with one of these bytes where it may be compressed.
const (
	formatPlain    = 1
	formatDeflated = 2
)

// maxUnpacked bounds what inflating may cost, in bytes.
const maxUnpacked = 16 << 10

var errUnpacked = errors.New("more than was ever packed")

// deflate compresses plain, with its format in front.
func deflate(plain []byte) []byte {
	var out bytes.Buffer
	out.WriteByte(formatDeflated)
	w, _ := flate.NewWriter(&out, flate.BestCompression) // errs on an unknown level only
	w.Write(plain)
	w.Close()
	return out.Bytes()
}

// inflate undoes deflate, given what is behind the format. It reads no more than maxUnpacked, whatever it is given.
func inflate(deflated []byte) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(deflated)), maxUnpacked+1))
	if err == nil && len(plain) > maxUnpacked {
		err = errUnpacked
	}
	return plain, err
}
