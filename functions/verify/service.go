package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kitestream/bridge/scan"
	"kitestream/jetstream"
)

// refusal is an answer that is no.
type refusal struct {
	code   int32
	reason string
}

// Error is the server's own words.
func (r *refusal) Error() string { return fmt.Sprintf("%s (code %d)", r.reason, r.code) }

// The codes of a Milvus that mean something here.
const (
	codeNoIndex = 700
	codeNoAlias = 1600
)

// checked is an answer, if it is yes.
func checked[A interface{ GetStatus() *commonpb.Status }](a A, err error) (A, error) {
	if err != nil {
		return a, err
	}
	if s := a.GetStatus(); s.GetCode() != 0 || s.GetErrorCode() != commonpb.ErrorCode_Success {
		return a, &refusal{s.GetCode(), s.GetReason()}
	}
	return a, nil
}

// unimplemented reports whether the server does not know the call.
func unimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// version is what the server says that it is, such as v2.3.5 or milvus_lite-3.2.2; empty if it does not say.
func version(ctx context.Context, c *scan.Client) (string, error) {
	v, err := checked(c.Service().GetVersion(ctx, &milvuspb.GetVersionRequest{}))
	if unimplemented(err) {
		return "", nil
	}
	return v.GetVersion(), err
}

func isLite(version string) bool { return strings.HasPrefix(version, "milvus_lite-") }

// keepsProperties reports whether a source of that version writes altered properties where a bridge can read them. A 2.3 keeps
// them in memory.
func keepsProperties(version string) bool {
	return !strings.HasPrefix(strings.TrimPrefix(version, "v"), "2.3.")
}

// followed are the collections of the source that the task selects, by name.
func followed(ctx context.Context, c *scan.Client, spec jetstream.TaskSpec) ([]jetstream.QualifiedName, error) {
	dbs, err := checked(c.Service().ListDatabases(ctx, &milvuspb.ListDatabasesRequest{}))
	if err != nil {
		return nil, fmt.Errorf("list the source's databases: %w", err)
	}
	var out []jetstream.QualifiedName
	for _, db := range slices.Sorted(slices.Values(dbs.GetDbNames())) {
		if !spec.SelectsDatabase(db) {
			continue
		}
		all, err := checked(c.Service().ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{DbName: db}))
		if err != nil {
			return nil, fmt.Errorf("list the collections of the source's database %s: %w", db, err)
		}
		for _, name := range slices.Sorted(slices.Values(all.GetCollectionNames())) {
			if spec.Selects(db, name) {
				out = append(out, jetstream.QualifiedName{Database: db, Collection: name})
			}
		}
	}
	return out, nil
}
