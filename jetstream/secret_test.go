package jetstream_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kitestream/jetstream"
)

func secretKey(t *testing.T, fill byte) *jetstream.SecretKey {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := jetstream.ReadSecretKey(file)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedTextsOpenWithTheirKeyOnly(t *testing.T) {
	mine, other := secretKey(t, 1), secretKey(t, 2)
	for _, text := range []string{"", "secret", strings.Repeat("ü", 1000)} {
		a, b := mine.Seal(text), mine.Seal(text)
		if a == b || text != "" && strings.Contains(a, text) {
			t.Errorf("%q is sealed as %q, and again as %q", text, a, b)
		}
		if got, err := mine.Open(a); err != nil || got != text {
			t.Errorf("opened: %q, %v", got, err)
		}
		if _, err := other.Open(a); !errors.Is(err, jetstream.ErrSealed) {
			t.Errorf("another key: %v", err)
		}
		changed := []byte(a)
		changed[len(changed)/2] ^= 1
		if got, err := mine.Open(string(changed)); err == nil && got == text && string(changed) != a {
			t.Error("a changed text opens")
		}
	}
	for _, bad := range []string{"", "secret", "sealed:1:", "sealed:1:%%%", "sealed:1:AAAA"} {
		if _, err := mine.Open(bad); !errors.Is(err, jetstream.ErrSealed) {
			t.Errorf("open %q: %v", bad, err)
		}
	}
}

func TestSecretKeyFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if _, err := jetstream.ReadSecretKey(file); err == nil {
		t.Error("a file that is not there")
	}
	for _, bad := range []string{"", "short", base64.StdEncoding.EncodeToString(make([]byte, 31)), "hunter2 is no key"} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := jetstream.ReadSecretKey(file); err == nil || bad != "" && strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "openssl") {
			t.Errorf("key file %q: %v", bad, err)
		}
	}
}
