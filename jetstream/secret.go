package jetstream

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/crypto/nacl/secretbox"
)

// SecretKey seals what must not stand on a stream in clear: passwords of users.
type SecretKey [32]byte

// sealedPrefix begins a sealed text. Behind it is base64 of nonce and box (nacl secretbox: XSalsa20 and Poly1305).
const sealedPrefix = "sealed:1:"

// ErrSealed says that a text can't be opened: it was sealed with another key, changed, or is not sealed at all.
var ErrSealed = errors.New("can't be opened with this secret key")

// ReadSecretKey reads a key of 32 bytes, in base64, from a file, as `openssl rand -base64 32` makes one.
func ReadSecretKey(file string) (*SecretKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read secret key: %w", err)
	}
	var k SecretKey
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(raw) != len(k) {
		return nil, fmt.Errorf("secret key file %s does not hold 32 bytes in base64: make one with 'openssl rand -base64 32'", file)
	}
	copy(k[:], raw)
	return &k, nil
}

// Seal makes a text of another that only the key opens. The same text is sealed differently each time.
func (k *SecretKey) Seal(text string) string {
	var nonce [24]byte
	_, _ = rand.Read(nonce[:]) // never fails: crypto/rand ends the program before
	return sealedPrefix + base64.StdEncoding.EncodeToString(secretbox.Seal(nonce[:], []byte(text), &nonce, (*[32]byte)(k)))
}

// Open opens what Seal made. The error wraps ErrSealed, and says nothing of the text.
func (k *SecretKey) Open(sealed string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sealed, sealedPrefix))
	if !strings.HasPrefix(sealed, sealedPrefix) || err != nil || len(raw) < 24 {
		return "", fmt.Errorf("it is not sealed: %w", ErrSealed)
	}
	text, ok := secretbox.Open(nil, raw[24:], (*[24]byte)(raw[:24]), (*[32]byte)(k))
	if !ok {
		return "", ErrSealed
	}
	return string(text), nil
}
