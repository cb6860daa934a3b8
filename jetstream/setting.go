package jetstream

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"
)

// Setting is what an event of Kind.Setting sets, the same for all events that set the same: an alias, an index, a
// property. A later event that is carried out makes an earlier one that was refused pointless.
type Setting struct {
	Key string // of letters, digits, punctuation and whatever names have; not for people
	// Whole: the event says all there is to say of it. One that loads some partitions, or alters an index, does not.
	Whole bool
}

// SettingOf says what an event sets. The error wraps ErrMalformed.
func SettingOf(e *Event) (Setting, error) {
	collection, database := strconv.FormatInt(e.CollectionID, 10), strconv.FormatInt(e.DatabaseID, 10)
	switch e.Kind {
	case LoadCollection, ReleaseCollection:
		return Setting{key("load", collection), true}, nil
	case LoadPartitions, ReleasePartitions:
		return Setting{key("load", collection), false}, nil
	}
	body, err := settingBody(e)
	if err != nil {
		return Setting{}, err
	}
	switch m := body.(type) {
	case *milvuspb.AlterDatabaseRequest: // all properties at once, or those that are deleted
		return Setting{key("database", database), len(m.GetProperties()) > 0}, nil
	case *milvuspb.AlterCollectionRequest:
		return Setting{key("collection", collection, touched(m)), true}, nil
	case *milvuspb.AlterCollectionFieldRequest:
		return Setting{key("field", collection, m.GetFieldName(), touched(m)), true}, nil
	case *milvuspb.CreateIndexRequest:
		return Setting{key("index", collection, m.GetIndexName()), true}, nil
	case *milvuspb.DropIndexRequest:
		return Setting{key("index", collection, m.GetIndexName()), true}, nil
	case *milvuspb.AlterIndexRequest:
		return Setting{key("index", collection, m.GetIndexName()), false}, nil
	case interface{ GetAlias() string }:
		return Setting{key("alias", database, m.GetAlias()), true}, nil
	case *milvuspb.OperateUserRoleRequest:
		return Setting{key("member", m.GetUsername(), m.GetRoleName()), true}, nil
	case *milvuspb.OperatePrivilegeRequest:
		g := m.GetEntity()
		return Setting{key("grant", g.GetRole().GetName(), g.GetObject().GetName(), g.GetDbName(), g.GetObjectName(), g.GetGrantor().GetPrivilege().GetName()), true}, nil
	case *milvuspb.CreateRoleRequest:
		return Setting{key("role", m.GetEntity().GetName()), true}, nil
	case *milvuspb.DropRoleRequest:
		return Setting{key("role", m.GetRoleName()), true}, nil
	case interface{ GetUsername() string }:
		return Setting{key("user", m.GetUsername()), true}, nil
	}
	return Setting{}, fmt.Errorf("event %s: %s sets nothing: %w", e.ID, e.Kind, ErrMalformed)
}

// key joins the parts, so that no two lists of parts give the same.
func key(parts ...string) string {
	for i, p := range parts {
		parts[i] = strconv.Quote(p)
	}
	return strings.Join(parts, " ")
}

// touched are the names of the properties that a request sets or deletes; a bridge alters one at a time.
func touched(m interface {
	GetProperties() []*commonpb.KeyValuePair
	GetDeleteKeys() []string
}) string {
	var names []string
	for _, p := range m.GetProperties() {
		names = append(names, p.GetKey())
	}
	return strings.Join(append(names, m.GetDeleteKeys()...), " ")
}

// settingBody is the event's body as the message that its kind has.
func settingBody(e *Event) (proto.Message, error) {
	bodies := map[Kind]proto.Message{
		AlterDatabase: &milvuspb.AlterDatabaseRequest{}, AlterCollection: &milvuspb.AlterCollectionRequest{},
		AlterField: &milvuspb.AlterCollectionFieldRequest{}, CreateIndex: &milvuspb.CreateIndexRequest{},
		AlterIndex: &milvuspb.AlterIndexRequest{}, DropIndex: &milvuspb.DropIndexRequest{},
		CreateAlias: &milvuspb.CreateAliasRequest{}, AlterAlias: &milvuspb.AlterAliasRequest{}, DropAlias: &milvuspb.DropAliasRequest{},
		CreateCredential: &milvuspb.CreateCredentialRequest{}, UpdateCredential: &milvuspb.UpdateCredentialRequest{},
		DeleteCredential: &milvuspb.DeleteCredentialRequest{}, CreateRole: &milvuspb.CreateRoleRequest{}, DropRole: &milvuspb.DropRoleRequest{},
		OperateUserRole: &milvuspb.OperateUserRoleRequest{}, OperatePrivilege: &milvuspb.OperatePrivilegeRequest{},
	}
	m := bodies[e.Kind]
	if m == nil {
		return nil, nil
	}
	if err := proto.Unmarshal(e.Body, m); err != nil {
		return nil, fmt.Errorf("read event %s: %w: %w", e.ID, ErrMalformed, err)
	}
	return m, nil
}
