//go:build servers

package milvus_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/test/servers"
)

func wantCode(t *testing.T, err error, class handlers.Class, code string) {
	t.Helper()
	var known *handlers.Error
	if !errors.As(err, &known) || known.Class != class || known.Code != code {
		t.Errorf("error %v, want %s %s", err, class, code)
	}
}

// TestRefusals provokes on a real server the errors that it can be brought to.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	ref := w.create("c", idField(), vectorField(4))
	upsert := func(ref handlers.Ref, partition string, columns ...*schemapb.FieldData) error {
		return w.target.Upsert(t.Context(), ref, partition, pack(t, columns...))
	}
	none := handlers.Ref{Database: w.db, Collection: "none"}
	nowhere := handlers.Ref{Database: "ks_h_none", Collection: "none"}
	for name, tc := range map[string]struct {
		err  error
		code string
	}{
		"upsert, no collection":    {upsert(none, "", longs("id", 1)), milvus.CodeNoCollection},
		"upsert, no database":      {upsert(nowhere, "", longs("id", 1)), milvus.CodeNoCollection},
		"delete, no collection":    {w.target.Delete(t.Context(), none, "", intKeys(1)), milvus.CodeNoCollection},
		"upsert, no partition":     {upsert(ref, "none", longs("id", 1), vectors("v", 4, 1, 0)), milvus.CodeNoPartition},
		"delete, no partition":     {w.target.Delete(t.Context(), ref, "none", intKeys(1)), milvus.CodeNoPartition},
		"partition, no collection": {w.target.CreatePartition(t.Context(), none, "p"), milvus.CodeNoCollection},
		"missing field":            {upsert(ref, "", longs("id", 1)), milvus.CodeSchema},
		"unknown field":            {upsert(ref, "", longs("id", 1), vectors("v", 4, 1, 0), longs("x", 1)), milvus.CodeSchema},
		"another type":             {upsert(ref, "", texts("id", "x"), vectors("v", 4, 1, 0)), milvus.CodeSchema},
		"another dimension":        {upsert(ref, "", longs("id", 1), vectors("v", 8, 1, 0)), milvus.CodeRefused},
		"collection's name":        {w.target.CreateCollection(t.Context(), w.request("a b", idField(), vectorField(4))), milvus.CodeRefused},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, tc.err, handlers.Permanent, tc.code) })
	}
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		wantCode(t, w.target.CreateDatabase(ctx, "x"), handlers.Transient, handlers.CodeTimeout)
	})
	t.Run("too large", func(t *testing.T) {
		ref := w.create("big", idField(), vectorField(4), metaField())
		n := 1100
		keys, meta := make([]int64, n), make([]string, n)
		for i := range n {
			keys[i], meta[i] = int64(i), fmt.Sprintf(`{"a":%q}`, make([]byte, 15600))
		}
		wantCode(t, upsert(ref, "", longs("id", keys...), vectors("v", 4, n, 0), metas(meta...)), handlers.TooLarge, handlers.CodeRowTooLarge)
	})
	t.Run("drop database with collections", func(t *testing.T) {
		wantCode(t, w.target.DropDatabase(t.Context(), w.db), handlers.Permanent, handlers.CodeNotEmpty)
	})
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w.must(l.Close())
		target := open(t, milvus.Config{URI: "http://" + l.Addr().String()})
		began := time.Now()
		for range 3 {
			wantCode(t, target.CreateDatabase(t.Context(), "x"), handlers.Transient, milvus.CodeUnavailable)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s to say so: something retries beneath handlers", took)
		}
	})
}

// TestStrictServer has a server with authentication and limits.
func TestStrictServer(t *testing.T) {
	server, err := servers.StartMilvus(t.Context(), servers.MilvusConfig{Dir: t.TempDir(), Set: map[string]string{
		"common.security.authorizationEnabled":      "true",
		"quotaAndLimits.limits.maxCollectionNum":    "1",
		"quotaAndLimits.dml.enabled":                "true",
		"quotaAndLimits.dml.upsertRate.max":         "0.001",
		"rootCoord.maxDatabaseNum":                  "2",
		"quotaAndLimits.quotaCenterCollectInterval": "1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx := t.Context()
	for name, token := range map[string]string{"no token": "", "wrong password": "root:wrong", "wrong key": "key"} {
		t.Run(name, func(t *testing.T) {
			target := open(t, milvus.Config{URI: server.URI, Token: token})
			_, err := target.Shape(ctx, handlers.Ref{Database: "default", Collection: "c"})
			wantCode(t, err, handlers.Misconfigured, milvus.CodeUnauthenticated)
		})
	}
	root := open(t, milvus.Config{URI: server.URI, Token: "root:Milvus"})
	w := &world{t: t, db: "default", target: root}
	ref := w.create("c", idField(), vectorField(4))
	look := service(t, server.Addr, "root:Milvus")
	s, err := look.CreateCredential(ctx, &milvuspb.CreateCredentialRequest{
		Username: "small", Password: base64.StdEncoding.EncodeToString([]byte("secret12")),
	})
	w.said(s, err)
	small := open(t, milvus.Config{URI: server.URI, Token: "small:secret12"})
	wantCode(t, small.Delete(ctx, ref, "", intKeys(1)), handlers.Misconfigured, milvus.CodeForbidden)
	wantCode(t, root.CreateCollection(ctx, w.request("d", idField(), vectorField(4))), handlers.Misconfigured, milvus.CodeQuota)
	w.must(root.CreateDatabase(ctx, "one"))
	w.must(root.CreateDatabase(ctx, "two"))
	wantCode(t, root.CreateDatabase(ctx, "three"), handlers.Misconfigured, milvus.CodeQuota)
	t.Run("rate", func(t *testing.T) {
		keys := make([]int64, 1000)
		for i := range keys {
			keys[i] = int64(i)
		}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			if err = root.Upsert(ctx, ref, "", pack(t, longs("id", keys...), vectors("v", 4, len(keys), 0))); err != nil {
				break
			}
		}
		wantCode(t, err, handlers.Limited, milvus.CodeRateLimited)
	})
}
