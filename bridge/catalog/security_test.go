//go:build servers

package catalog_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"kitestream/bridge/catalog"
	"kitestream/bridge/catalog/catalogtest"
)

// TestTLS has etcd behind an end of TLS that wants a certificate from its clients, as etcd's own does.
func TestTLS(t *testing.T) {
	e := newEtcd(t)
	e.collection(t, catalogtest.Named(10, 1, "orders", 0))
	ca := newAuthority(t)
	serverCert, serverKey := ca.issue(t, "127.0.0.1")
	clientCert, clientKey := ca.issue(t, "kitestream")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	must(t, err)
	p := newProxy(t, e.endpoint, &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2"},
	})
	_, port, err := net.SplitHostPort(p.addr)
	must(t, err)
	good := e.config()
	good.Endpoints, good.RequestTimeout = []string{"https://" + p.addr}, 2*time.Second
	good.CAFile, good.CertFile, good.KeyFile = ca.file, clientCert, clientKey
	for _, endpoint := range []string{"https://" + p.addr, p.addr} {
		cfg := good
		cfg.Endpoints = []string{endpoint}
		c := open(t, cfg)
		e.put(t, catalogtest.PartitionKey(10, 99), catalogtest.Partition(99, 10, "p", 0))
		if v := syncNow(t, c); v.Collections[10] == nil || v.Collections[10].Partitions[99] == nil {
			t.Errorf("%s: view is\n%s", endpoint, summary(v))
		}
	}
	for name, change := range map[string]func(*catalog.Config){
		"authorities of the system": func(c *catalog.Config) { c.CAFile = "" },
		"another authority":         func(c *catalog.Config) { c.CAFile = newAuthority(t).file },
		"another name":              func(c *catalog.Config) { c.Endpoints = []string{"https://localhost:" + port} },
		"no certificate":            func(c *catalog.Config) { c.CertFile, c.KeyFile = "", "" },
		"no TLS": func(c *catalog.Config) {
			*c = e.config()
			c.Endpoints = []string{p.addr}
			c.RequestTimeout = 2 * time.Second
		},
	} {
		cfg := good
		change(&cfg)
		_, err := catalog.Open(t.Context(), cfg, nil)
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: opened, or no word why not: %v", name, err)
		}
	}
}

// authority signs certificates for tests.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	pool      *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	tmpl := template("authority")
	tmpl.IsCA, tmpl.KeyUsage = true, x509.KeyUsageCertSign
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	must(t, err)
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.cert)
	a.file = a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) issue(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, template(name), a.cert, &key.PublicKey, a.key)
	must(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	return a.write(t, name+".pem", "CERTIFICATE", der), a.write(t, name+".key", "EC PRIVATE KEY", keyDER)
}

func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(a.dir, name)
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

func template(name string) *x509.Certificate {
	var ips []net.IP
	if ip := net.ParseIP(name); ip != nil {
		ips = append(ips, ip)
	}
	return &x509.Certificate{
		IPAddresses:  ips,
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func testUsers(t *testing.T, e *etcd) {
	ctx := t.Context()
	_, err := e.UserAdd(ctx, "root", "secret")
	must(t, err)
	_, err = e.UserGrantRole(ctx, "root", "root")
	must(t, err)
	_, err = e.RoleAdd(ctx, "reader")
	must(t, err)
	_, err = e.RoleGrantPermission(ctx, "reader", e.key("field-index/"), e.key("root-coord0"), clientv3.PermissionType(clientv3.PermRead))
	must(t, err)
	_, err = e.UserAdd(ctx, "kite", "stream")
	must(t, err)
	_, err = e.UserGrantRole(ctx, "kite", "reader")
	must(t, err)
	_, err = e.AuthEnable(ctx)
	must(t, err)
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{e.endpoint}, Username: "root", Password: "secret"})
	must(t, err)
	defer root.Close()
	defer func() { _, _ = root.AuthDisable(context.WithoutCancel(ctx)) }()

	cfg := e.config()
	cfg.RequestTimeout = 2 * time.Second
	if _, err := catalog.Open(ctx, cfg, nil); err == nil {
		t.Error("opened without a user")
	}
	cfg.Username, cfg.Password = "kite", "wrong"
	if _, err := catalog.Open(ctx, cfg, nil); err == nil {
		t.Error("opened with a wrong password")
	} else if strings.Contains(err.Error(), "wrong") {
		t.Errorf("the error tells the password: %v", err)
	}
	cfg.Password = "stream"
	c := open(t, cfg)
	_, err = root.Put(ctx, e.key(catalogtest.DatabaseKey(9)), string(catalogtest.Database(9, "d", 0, 1)))
	must(t, err)
	if v := syncNow(t, c); v.Databases[9] == nil {
		t.Errorf("view is\n%s", summary(v))
	}
	cfg.Root = "elsewhere"
	if _, err := catalog.Open(ctx, cfg, nil); err == nil {
		t.Error("opened a root that the user may not read")
	}
}
