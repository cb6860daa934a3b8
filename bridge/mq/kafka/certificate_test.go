//go:build servers

package kafka_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// saltedPasswords are what a broker keeps of a password for SCRAM, by Kafka's number for the mechanism.
func saltedPasswords(t *testing.T, password string, salt []byte, times int) map[int8][]byte {
	t.Helper()
	short, err := pbkdf2.Key(sha256.New, password, salt, times, sha256.Size)
	must(t, err)
	long, err := pbkdf2.Key(sha512.New, password, salt, times, sha512.Size)
	must(t, err)
	return map[int8][]byte{1: short, 2: long}
}

// authority is a certificate authority for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	var err error
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.key = key
	return a
}

// sign makes a certificate with a new key; the first one, the authority's own, signs itself.
func (a *authority) sign(t *testing.T, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	must(t, err)
	return der, key
}

// pair is a new certificate and its key, as PEM.
func (a *authority) pair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	der, k := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	return pemOf(t, "CERTIFICATE", der), pemOf(t, "PRIVATE KEY", keyDER)
}

func pemOf(t *testing.T, kind string, der []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}))
	return b.Bytes()
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(file, content, 0o600))
	return file
}

// file is whom to trust.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	return write(t, "ca.pem", pemOf(t, "CERTIFICATE", a.cert.Raw))
}

// clientFiles are whom to trust, and a new certificate and key.
func (a *authority) clientFiles(t *testing.T, name string) (ca, cert, key string) {
	t.Helper()
	c, k := a.pair(t, name)
	return a.file(t), write(t, "cert.pem", c), write(t, "key.pem", k)
}

// serverFiles are whom to trust, and a new key and certificate in one, as Kafka wants them.
func (a *authority) serverFiles(t *testing.T) (ca, pair string) {
	t.Helper()
	c, k := a.pair(t, "broker")
	return a.file(t), write(t, "broker.pem", append(k, c...))
}
