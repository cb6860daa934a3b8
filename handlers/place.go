package handlers

import (
	"errors"
	"fmt"
	"sync"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers/rules"
	"kitestream/jetstream"
)

// Everything that a task's mapping and rules change is changed here, before a definition or a fold sees it: those know
// nothing of either. What is told to the caller (Stopped, logs) keeps the source's names.

// placement is the mapping and the rules of a task.
type placement struct {
	spec  jetstream.TaskSpec
	rules map[*jetstream.Rule]*rules.Rule // by their place in spec

	mu   sync.Mutex
	told map[source]bool // collections of which was told that an expression fails
}

func newPlacement(spec jetstream.TaskSpec) (*placement, error) {
	p := &placement{spec: spec, rules: map[*jetstream.Rule]*rules.Rule{}, told: map[source]bool{}}
	var errs []error
	for i := range spec.Rules {
		r, err := rules.Parse(spec.Rules[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("rules[%d].%w", i, err))
		}
		p.rules[&spec.Rules[i]] = r
	}
	return p, errors.Join(errs...)
}

// ruleOf is the rule of a collection of the source, or nil.
func (p *placement) ruleOf(r Ref) *rules.Rule {
	if len(p.rules) == 0 {
		return nil
	}
	return p.rules[p.spec.RuleFor(jetstream.QualifiedName(r))]
}

// refOf is where on the target a collection of the source is.
func (p *placement) refOf(r Ref) Ref { return Ref(p.spec.Place(jetstream.QualifiedName(r))) }

// defaultDatabase is the one that every Milvus has and none drops.
const defaultDatabase = "default"

// place is the event as the target is to have it: with the names there, and less what the collection's rule leaves out.
// It is nil if that is all of it.
func (p *placement) place(e *jetstream.Event) (*jetstream.Event, error) {
	rule := p.ruleOf(Ref{e.Database, e.Collection})
	if rule == nil && len(p.spec.Map) == 0 {
		return e, nil
	}
	out := *e
	switch {
	case e.Collection != "":
		to := p.refOf(Ref{e.Database, e.Collection})
		out.Database, out.Collection = to.Database, to.Collection
	case e.Database != "":
		out.Database = p.spec.PlaceDatabase(e.Database)
	}
	if e.Kind == jetstream.DropDatabase && out.Database == defaultDatabase && e.Database != defaultDatabase {
		return nil, nil
	}
	left, err := p.names(&out, e)
	if err == nil && left && rule != nil {
		left, err = cut(&out, rule)
	}
	if err != nil || !left {
		return nil, err
	}
	return &out, nil
}

// leftOver reports whether the error only says that a database can't be dropped for what else has been mapped into it.
func (p *placement) leftOver(e *jetstream.Event, err error) bool {
	var refused *Error
	return e.Kind == jetstream.DropDatabase && len(p.spec.Map) > 0 && errors.As(err, &refused) && refused.Code == CodeNotEmpty
}

// names puts the target's names into an event's body, where it has others than the event's own. It reports whether there is
// anything left to do.
func (p *placement) names(out, e *jetstream.Event) (left bool, err error) {
	if len(p.spec.Map) == 0 {
		return true, nil
	}
	switch e.Kind {
	case jetstream.RenameCollection:
		return change(out, &milvuspb.RenameCollectionRequest{}, func(req *milvuspb.RenameCollectionRequest) (bool, error) {
			if req.GetNewName() == "" {
				return true, nil
			}
			database := req.GetNewDBName()
			if database == "" {
				database = e.Database
			}
			to := p.refOf(Ref{database, req.GetNewName()})
			req.NewDBName, req.NewName = to.Database, to.Collection
			return to != Ref{out.Database, out.Collection}, nil // both may be mapped to one name
		})
	case jetstream.CreateAlias:
		return change(out, &milvuspb.CreateAliasRequest{}, func(req *milvuspb.CreateAliasRequest) (bool, error) {
			req.Alias = p.aliasOf(e, req.GetAlias())
			return true, nil
		})
	case jetstream.AlterAlias:
		return change(out, &milvuspb.AlterAliasRequest{}, func(req *milvuspb.AlterAliasRequest) (bool, error) {
			req.Alias = p.aliasOf(e, req.GetAlias())
			return true, nil
		})
	case jetstream.DropAlias:
		return change(out, &milvuspb.DropAliasRequest{}, func(req *milvuspb.DropAliasRequest) (bool, error) {
			req.Alias = p.aliasOf(e, req.GetAlias())
			return true, nil
		})
	case jetstream.OperatePrivilege:
		return change(out, &milvuspb.OperatePrivilegeRequest{}, func(req *milvuspb.OperatePrivilegeRequest) (bool, error) {
			p.grant(req.GetEntity())
			return true, nil
		})
	}
	return true, nil
}

// aliasOf is an alias on the target. Its database is its collection's there, as Milvus has it nowhere else.
func (p *placement) aliasOf(e *jetstream.Event, alias string) string {
	return p.refOf(Ref{e.Database, alias}).Collection
}

// anything is what stands for every database or collection in a grant.
const anything = "*"

// grant puts the target's names into what a privilege is about.
func (p *placement) grant(g *milvuspb.GrantEntity) {
	if g == nil || g.GetDbName() == anything {
		return
	}
	database := g.GetDbName()
	if database == "" {
		database = defaultDatabase
	}
	switch {
	case g.GetObject().GetName() == commonpb.ObjectType_Global.String() && g.GetDbName() != "":
		g.DbName = p.spec.PlaceDatabase(database)
	case g.GetObject().GetName() != commonpb.ObjectType_Collection.String():
	case g.GetObjectName() != anything:
		to := p.refOf(Ref{database, g.GetObjectName()})
		g.DbName, g.ObjectName = to.Database, to.Collection
	default:
		g.DbName = p.spec.PlaceDatabase(database)
	}
}

// change changes the event's body, and reports what the function does: whether anything is left.
func change[M proto.Message](e *jetstream.Event, req M, fn func(M) (bool, error)) (left bool, err error) {
	if err := proto.Unmarshal(e.Body, req); err != nil {
		return false, permanent(CodeEvent, fmt.Errorf("read event %s: %w", e.ID, err))
	}
	if left, err = fn(req); err != nil || !left {
		return left, err
	}
	if e.Body, err = proto.Marshal(req); err != nil {
		return false, permanent(CodeEvent, fmt.Errorf("write event %s: %w", e.ID, err))
	}
	return true, nil
}
