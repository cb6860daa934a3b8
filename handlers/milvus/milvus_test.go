package milvus_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers"
	"kitestream/handlers/milvus"
	"kitestream/jetstream/rows"
)

// TestUpsertRequest looks at the request that arrives: the columns that were given, as the server's own fields.
func TestUpsertRequest(t *testing.T) {
	s := &stub{schema: schemaOf(idField(), vectorField(4))}
	s.schema.EnableDynamicField = true
	target := newStub(t, s, "user:pass")
	columns := []*schemapb.FieldData{vectors("v", 4, 2, 1), longs("id", 1, 2), metas("{}", `{"x":1}`)}
	if err := target.Upsert(t.Context(), stubRef, "p", pack(t, columns...)); err != nil {
		t.Fatal(err)
	}
	req := s.upsert
	if req.DbName != "db" || req.CollectionName != "c" || req.PartitionName != "p" || req.NumRows != 2 || len(req.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("request %v", req)
	}
	if len(req.FieldsData) != len(columns) {
		t.Fatalf("%d columns arrived of %d", len(req.FieldsData), len(columns))
	}
	for i, c := range columns {
		if !proto.Equal(req.FieldsData[i], c) {
			t.Errorf("column %d: %v, want %v", i, req.FieldsData[i], c)
		}
	}
	if got, want := s.header.Get("authorization"), base64.StdEncoding.EncodeToString([]byte("user:pass")); len(got) != 1 || got[0] != want {
		t.Errorf("authorization %q, want %q", got, want)
	}
	if got := s.header.Get("dbname"); len(got) != 0 {
		t.Errorf("header dbname %q: the request's own name must count", got)
	}
}

// TestUpsertOfNewerSchemas has what Milvus 2.5 adds: nulls, defaults, and fields that the server computes.
func TestUpsertOfNewerSchemas(t *testing.T) {
	null := field("n", schemapb.DataType_Int64, func(f *schemapb.FieldSchema) { f.Nullable = true })
	def := field("d", schemapb.DataType_Int64, func(f *schemapb.FieldSchema) {
		f.DefaultValue = &schemapb.ValueField{Data: &schemapb.ValueField_LongData{LongData: 7}}
	})
	computed := field("out", schemapb.DataType_Int64, func(f *schemapb.FieldSchema) { f.IsFunctionOutput = true })
	s := &stub{schema: schemaOf(idField(), null, def, computed)}
	target := newStub(t, s, "")
	n := longs("n", 5, 0, 6)
	n.ValidData = []bool{true, false, true}
	if err := target.Upsert(t.Context(), stubRef, "", pack(t, longs("id", 1, 2, 3), n, longs("d", 1, 2, 3), longs("out", 9, 9, 9))); err != nil {
		t.Fatal(err)
	}
	got := map[string]*schemapb.FieldData{}
	for _, f := range s.upsert.FieldsData {
		got[f.FieldName] = f
	}
	if len(got) != 3 || len(got["n"].GetScalars().GetLongData().GetData()) != 2 || len(got["n"].ValidData) != 3 {
		t.Errorf("columns %v", got)
	}
	if v := got["d"].ValidData; len(v) != 3 || !v[0] || !v[1] || !v[2] {
		t.Errorf("the field with a default is marked %v, want all valid", v)
	}
	if err := target.Upsert(t.Context(), stubRef, "", pack(t, longs("id", 1))); err != nil {
		t.Errorf("Upsert without optional fields = %v", err)
	}
}

func TestDeleteExpression(t *testing.T) {
	s := &stub{schema: schemaOf(idField())}
	target := newStub(t, s, "")
	if err := target.Delete(t.Context(), stubRef, "p", intKeys(-9223372036854775808, 0, 5)); err != nil {
		t.Fatal(err)
	}
	if want := "id in [-9223372036854775807-1,0,5]"; s.remove.Expr != want || s.remove.PartitionName != "p" || s.remove.DbName != "db" {
		t.Errorf("request %v, want %s", s.remove, want)
	}
}

// FuzzDeleteExpression reads what Delete writes as Milvus does: by strconv.Unquote. The tests on a real server show that
// it does.
func FuzzDeleteExpression(f *testing.F) {
	for _, seed := range []string{"", `"`, `\`, "\n", "ü", "\x00", `") or ("" == "`} {
		f.Add(seed)
	}
	s := &stub{schema: schemaOf(textID())}
	target := newStub(f, s, "")
	f.Fuzz(func(t *testing.T, key string) {
		key = strings.ToValidUTF8(key, "?") // as protobuf's strings are
		if err := target.Delete(t.Context(), stubRef, "", rows.Keys{Strings: []string{key, "x"}}); err != nil {
			t.Fatal(err)
		}
		expr, ok := strings.CutPrefix(s.remove.Expr, "id in [")
		quoted, err := strconv.QuotedPrefix(expr)
		if !ok || err != nil || expr[len(quoted):] != `,"x"]` {
			t.Fatalf("expression %s", s.remove.Expr)
		}
		if got, err := strconv.Unquote(quoted); err != nil || got != key {
			t.Errorf("key %q is read as %q (%v)", key, got, err)
		}
		if strings.ContainsAny(quoted, "\n\r") {
			t.Errorf("a line ends inside %q", quoted)
		}
	})
}

func TestRowsMustFitTheCollection(t *testing.T) {
	s := &stub{schema: schemaOf(idField(), vectorField(4))}
	target := newStub(t, s, "")
	for want, columns := range map[string][]*schemapb.FieldData{
		`rows lack the field "v" that the target has`:           {longs("id", 1)},
		`rows have a field "x" that the target has not`:         {longs("id", 1), vectors("v", 4, 1, 0), longs("x", 1)},
		`field "id" is VarChar in rows, Int64 on the target`:    {texts("id", "1"), vectors("v", 4, 1, 0)},
		`field "v" is Int64 in rows, FloatVector on the target`: {longs("id", 1), longs("v", 1)},
	} {
		err := target.Upsert(t.Context(), stubRef, "", pack(t, columns...))
		if err == nil || !strings.Contains(err.Error(), want) || s.upsert != nil {
			t.Errorf("Upsert = %v, want %s", err, want)
		}
	}
}

// TestAnswers has every kind of answer.
func TestAnswers(t *testing.T) {
	code := func(code int32) *commonpb.Status { return &commonpb.Status{Code: code, Reason: "because"} }
	old := func(code commonpb.ErrorCode) *commonpb.Status {
		return &commonpb.Status{ErrorCode: code, Reason: "because"}
	}
	for want, tc := range map[string]struct {
		answers []*commonpb.Status
		errs    []codes.Code
	}{
		"transient KS-T-UNAVAILABLE": {[]*commonpb.Status{code(2), code(901), code(905), old(commonpb.ErrorCode_NodeIDNotMatch)}, []codes.Code{codes.Unavailable}},
		"transient KS-T-NOTREADY":    {[]*commonpb.Status{{Code: 1, ErrorCode: commonpb.ErrorCode_NotReadyServe}, old(commonpb.ErrorCode_NotReadyServe)}, nil},
		"transient KS-T-INTERNAL": {[]*commonpb.Status{
			code(5), code(503), code(1302), {Code: 4242, Retriable: true}, old(commonpb.ErrorCode_DDRequestRace),
		}, []codes.Code{codes.Internal, codes.Aborted}},
		"transient KS-T-TIMEOUT":       {[]*commonpb.Status{code(10000), code(10001)}, []codes.Code{codes.DeadlineExceeded}},
		"limited KS-L-RATE":            {[]*commonpb.Status{code(8), code(4), old(commonpb.ErrorCode_RateLimit)}, []codes.Code{codes.ResourceExhausted}},
		"limited KS-L-DENIED":          {[]*commonpb.Status{code(9), code(3), code(7), old(commonpb.ErrorCode_ForceDeny)}, nil},
		"misconfigured KS-M-AUTH":      {[]*commonpb.Status{code(1400), code(1800)}, []codes.Code{codes.Unauthenticated}},
		"misconfigured KS-M-FORBIDDEN": {[]*commonpb.Status{code(1401), old(commonpb.ErrorCode_PermissionDenied)}, []codes.Code{codes.PermissionDenied}},
		"misconfigured KS-M-QUOTA":     {[]*commonpb.Status{code(102), code(801)}, nil},
		"misconfigured KS-M-VERSION":   {[]*commonpb.Status{code(10)}, []codes.Code{codes.Unimplemented}},
		"permanent KS-P-NOCOLLECTION":  {[]*commonpb.Status{code(100), old(commonpb.ErrorCode_CollectionNotExists)}, nil},
		"permanent KS-P-NOPARTITION":   {[]*commonpb.Status{code(200)}, nil},
		"permanent KS-P-NODATABASE":    {[]*commonpb.Status{code(800)}, nil},
		"permanent KS-P-REFUSED":       {[]*commonpb.Status{code(1100), code(1700), code(6), old(commonpb.ErrorCode_UpsertAutoIDTrue)}, nil},
		"unclear KS-U-UNKNOWN":         {[]*commonpb.Status{code(65535), code(1), code(1001), code(4242), old(commonpb.ErrorCode_UnexpectedError)}, []codes.Code{codes.Unknown}},
	} {
		t.Run(want, func(t *testing.T) {
			s := &stub{schema: schemaOf(idField())}
			target := newStub(t, s, "")
			check := func(what any) {
				t.Helper()
				err := target.Delete(t.Context(), stubRef, "", intKeys(1))
				var known *handlers.Error
				if !errors.As(err, &known) || string(known.Class)+" "+known.Code != want {
					t.Errorf("%v gives %v", what, err)
				}
			}
			for _, a := range tc.answers {
				s.answer = a
				check(a)
			}
			s.answer = nil
			for _, c := range tc.errs {
				s.err = status.Error(c, "because")
				check(c)
			}
		})
	}
}

// TestShapeIsRemembered counts how often the target is asked.
func TestShapeIsRemembered(t *testing.T) {
	s := &stub{schema: schemaOf(idField())}
	target := newStub(t, s, "")
	asked := func(want int, after string) {
		t.Helper()
		for range 3 {
			if shape, err := target.Shape(t.Context(), stubRef); err != nil || shape.Key != "id" {
				t.Fatalf("Shape = %v, %v", shape, err)
			}
		}
		if s.shows != want {
			t.Errorf("asked %d times after %s, want %d", s.shows, after, want)
		}
	}
	asked(1, "the first time")
	s.answer = &commonpb.Status{Code: 8}
	_ = target.Delete(t.Context(), stubRef, "", intKeys(1))
	asked(1, "a rate limit")
	for i, code := range []int32{100, 200, 1100, 65535} {
		s.answer = &commonpb.Status{Code: code}
		_ = target.Delete(t.Context(), stubRef, "", intKeys(1))
		asked(2+i, "code "+strconv.Itoa(int(code)))
	}
	_ = target.DropDatabase(t.Context(), "db")
	asked(6, "the database was dropped")
}

func TestDifferences(t *testing.T) {
	value := func(v int64) func(*schemapb.FieldSchema) {
		return func(f *schemapb.FieldSchema) {
			f.DefaultValue = &schemapb.ValueField{Data: &schemapb.ValueField_LongData{LongData: v}}
		}
	}
	nullable := func(f *schemapb.FieldSchema) { f.Nullable = true }
	text := func(key, value string) func(*schemapb.FieldSchema) {
		return func(f *schemapb.FieldSchema) {
			f.TypeParams = append(f.TypeParams, &commonpb.KeyValuePair{Key: key, Value: value})
		}
	}
	mmap := text("mmap.enabled", "true")
	long := func(how ...func(*schemapb.FieldSchema)) *schemapb.FieldSchema {
		return field("k", schemapb.DataType_Int64, how...)
	}
	array := func(typ schemapb.DataType) *schemapb.FieldSchema {
		return field("k", schemapb.DataType_Array, elements(typ), param("max_capacity", 8))
	}
	for name, tc := range map[string]struct {
		source, target *schemapb.FieldSchema
		want           string
	}{
		"same":           {long(), long(), ""},
		"tuning":         {long(mmap), long(), ""},
		"source_auto_id": {long(auto), long(), ""},
		"type":           {long(), field("k", schemapb.DataType_Int32), `field "k": type is Int64 on the source, Int32 on the target`},
		"element":        {array(schemapb.DataType_Int64), array(schemapb.DataType_Int8), `field "k": element type is Int64 on the source, Int8 on the target`},
		"partition_key":  {long(partitionKey), long(), `field "k": partition key is on on the source, off on the target`},
		"clustering_key": {long(clustering), long(), ""},
		"nullable":       {long(), long(nullable), `field "k": nullable is off on the source, on on the target`},
		"default":        {long(value(1)), long(), `field "k": default value is long_data:1 on the source, none on the target`},
		"same_default":   {long(value(1)), long(value(1)), ""},
		"other_param":    {long(param("x", 1)), long(), ""},
		"max_length":     {long(param("max_length", 1)), long(), `field "k": max_length is 1 on the source, none on the target`},
		"analyzer":       {long(text("enable_analyzer", "false"), text("analyzer_params", `{"a":1}`)), long(text("analyzer_params", `{"a": 1}`)), ""},
		"other_analyzer": {long(text("analyzer_params", `{"a":1}`)), long(text("analyzer_params", `{"a":2}`)), `field "k": analyzer_params is {"a":1} on the source, {"a":2} on the target`},
		"primary": {
			long(primary), long(), `field "k": primary key is on on the source, off on the target`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stub{schema: schemaOf(idField(), tc.target)}
			err := newStub(t, s, "").CreateCollection(t.Context(), request(t, schemaOf(idField(), tc.source)))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("CreateCollection = %v, want it adopted", err)
			case tc.want != "" && (err == nil || !strings.HasSuffix(err.Error(), "another schema: "+tc.want)):
				t.Errorf("CreateCollection = %v, want %s", err, tc.want)
			}
		})
	}
}

// TestFunctionsAreCompared has what Milvus 2.5 computes.
func TestFunctionsAreCompared(t *testing.T) {
	mine, theirs := schemaOf(idField()), schemaOf(idField())
	mine.Functions = []*schemapb.FunctionSchema{{Name: "f", Type: schemapb.FunctionType_BM25, InputFieldNames: []string{"a"}, OutputFieldNames: []string{"b"}}}
	err := newStub(t, &stub{schema: theirs}, "").CreateCollection(t.Context(), request(t, mine))
	if want := `function "f" is BM25 of ["a"] into ["b"] on the source, none on the target`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("CreateCollection = %v, want %s", err, want)
	}
}

// TestCreateCollectionRequest looks at the request that arrives.
func TestCreateCollectionRequest(t *testing.T) {
	source := schemaOf(field("id", schemapb.DataType_Int64, primary, auto), vectorField(4), metaField())
	source.AutoID, source.DbName, source.Description = true, "elsewhere", "mine"
	for i, f := range source.Fields {
		f.FieldID = int64(100 + i)
	}
	req := request(t, source)
	req.ShardsNum, req.NumPartitions, req.ConsistencyLevel = 3, 16, commonpb.ConsistencyLevel_Session
	req.Properties = []*commonpb.KeyValuePair{{Key: "replicate.id", Value: "x"}, {Key: "a", Value: "b"}}
	s := &stub{}
	if err := newStub(t, s, "").CreateCollection(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	got := &schemapb.CollectionSchema{}
	if err := proto.Unmarshal(s.create.Schema, got); err != nil {
		t.Fatal(err)
	}
	want := schemaOf(field("id", schemapb.DataType_Int64, primary), vectorField(4))
	want.EnableDynamicField, want.Description = true, "mine"
	if !proto.Equal(got, want) {
		t.Errorf("schema %v\nwant %v", got, want)
	}
	if s.create.NumPartitions != 0 || s.create.ShardsNum != 3 || len(s.create.Properties) != 1 || s.create.ConsistencyLevel != commonpb.ConsistencyLevel_Session {
		t.Errorf("request %v", s.create)
	}
	req.Schema = []byte{0xff}
	err := newStub(t, s, "").CreateCollection(t.Context(), req)
	var known *handlers.Error
	if !errors.As(err, &known) || known.Code != handlers.CodeEvent {
		t.Errorf("CreateCollection of an unreadable schema = %v", err)
	}
}

func TestConfig(t *testing.T) {
	for uri, want := range map[string]string{
		"http://127.0.0.1:19530": "", "https://host": "", "host:19530": "", "127.0.0.1:19530": "", "http://[::1]:19530/": "",
		"": "uri is empty", "ftp://host": "not http", "http://": "no host", "http://u:secret@host": "belong into the token",
		"http://host/db": "has a path", "http://host:x": "can't be parsed", "http://u:secret@host:x": "can't be parsed",
	} {
		err := milvus.Config{URI: uri}.Validate()
		switch {
		case want == "" && err != nil:
			t.Errorf("Validate of %q = %v", uri, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("Validate of %q = %v, want %s", uri, err, want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("Validate of %q shows the password: %v", uri, err)
		}
	}
}

// TestTLS sees a TLS handshake begin where the URI says https.
func TestTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	first := make(chan byte, 1)
	go func() {
		defer close(first)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		b := make([]byte, 1)
		if _, err := io.ReadFull(conn, b); err == nil {
			first <- b[0]
		}
	}()
	target, err := milvus.Open(t.Context(), milvus.Config{URI: "https://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = target.Close() }()
	err = target.CreateDatabase(t.Context(), "x")
	var known *handlers.Error
	if !errors.As(err, &known) || known.Code != milvus.CodeUnavailable {
		t.Errorf("CreateDatabase = %v", err)
	}
	select {
	case b := <-first:
		if b != 0x16 {
			t.Errorf("the first byte is %x, not that of a TLS handshake", b)
		}
	case <-time.After(5 * time.Second):
		t.Error("no connection")
	}
}
