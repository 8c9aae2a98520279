package seal

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
)

// Values that may be compressed start with one of these bytes.
const (
	FormatPlain    = 1
	FormatDeflated = 2
)

// MaxUnpacked limits the result of Inflate, in bytes.
const MaxUnpacked = 16 << 10

var errUnpacked = errors.New("more than was ever packed")

// Deflate compresses plain, and puts the format byte in front.
func Deflate(plain []byte) []byte {
	var out bytes.Buffer
	out.WriteByte(FormatDeflated)
	w, _ := flate.NewWriter(&out, flate.BestCompression) // fails only for an unknown level
	w.Write(plain)
	w.Close()
	return out.Bytes()
}

// Inflate undoes Deflate, without the format byte. It returns at most MaxUnpacked bytes.
func Inflate(deflated []byte) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(deflated)), MaxUnpacked+1))
	if err == nil && len(plain) > MaxUnpacked {
		err = errUnpacked
	}
	return plain, err
}
