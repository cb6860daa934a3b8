package mqtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
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

// Authority is a certificate authority for one test.
type Authority struct {
	File string         // its own certificate, as PEM
	Pool *x509.CertPool // with its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{Pool: x509.NewCertPool()}
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	cert, err := x509.ParseCertificate(der)
	Must(t, err)
	a.cert, a.key, a.File = cert, key, write(t, "ca.pem", "CERTIFICATE", der)
	a.Pool.AddCert(cert)
	return a
}

// sign makes a certificate with a new key; the first one, the authority's own, signs itself.
func (a *Authority) sign(t testing.TB, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Must(t, err)
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	Must(t, err)
	return der, key
}

// Files are the authority's certificate, and a new one of that name, for this host and for clients, with its key, as PEM.
func (a *Authority) Files(t testing.TB, name string) (ca, cert, key string) {
	t.Helper()
	der, private := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	Must(t, err)
	return a.File, write(t, "cert.pem", "CERTIFICATE", der), write(t, "key.pem", "PRIVATE KEY", pkcs8)
}

// Pair is a new certificate as of Files.
func (a *Authority) Pair(t testing.TB, name string) tls.Certificate {
	t.Helper()
	_, cert, key := a.Files(t, name)
	pair, err := tls.LoadX509KeyPair(cert, key)
	Must(t, err)
	return pair
}

func write(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	Must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}
