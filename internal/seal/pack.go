package seal

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// What is sealed starts with one of these bytes where it may be compressed.
const (
	FormatPlain    = 1
	FormatDeflated = 2
)

// MaxUnpacked bounds what inflating may cost, in bytes.
const MaxUnpacked = 16 << 10

var errUnpacked = errors.New("more than was ever packed")

// Deflate compresses plain, with its format in front.
func Deflate(plain []byte) []byte {
	var out bytes.Buffer
	out.WriteByte(FormatDeflated)
	w, _ := flate.NewWriter(&out, flate.BestCompression) // errs on an unknown level only
	w.Write(plain)
	w.Close()
	return out.Bytes()
}

// Inflate undoes deflate, given what is behind the format. It reads no more than MaxUnpacked, whatever it is given.
func Inflate(deflated []byte) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(deflated)), MaxUnpacked+1))
	if err == nil && len(plain) > MaxUnpacked {
		err = errUnpacked
	}
	return plain, err
}
