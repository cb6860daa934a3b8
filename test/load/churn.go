package load

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Churn does everything at once that a Milvus can do to what it holds: databases, collections, partitions, aliases, names,
// indexes, what is loaded, and rows in between. Properties are given at creation
// alone: a 2.3.5 that is told to alter them writes nothing to its etcd, and has forgotten them when it starts again. Each choice is the seed's, made among what the source would
// accept; a call that it refuses all the same is an error. It is for one goroutine.
type Churn struct {
	svc    milvuspb.MilvusServiceClient
	rng    *rand.Rand
	prefix string
	dbs    []string
	cols   []*churned
	names  map[string]map[string]*churned // by database: what each name stands for; nil for an alias of what is gone
	serial int
	Log    []string // what was done
}

// churned is a collection as Churn left it.
type churned struct {
	db, name string
	kind     schemaKind
	parts    []string          // beside the default one
	index    map[string]string // the index's name, by field
	indexed  bool              // since it was loaded last
}

func (c *churned) String() string { return c.db + "." + c.name }

// DialChurn is NewChurn with a connection of its own to a Milvus without TLS, at host:port. It lives as long as the process.
func DialChurn(addr string, seed uint64, prefix string) (*Churn, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to Milvus at %s: %w", addr, err)
	}
	return NewChurn(milvuspb.NewMilvusServiceClient(conn), seed, prefix), nil
}

// NewChurn makes a Churn of the databases whose names begin with the prefix, and of the default one's collections of such
// names.
func NewChurn(svc milvuspb.MilvusServiceClient, seed uint64, prefix string) *Churn {
	return &Churn{svc: svc, rng: rand.New(rand.NewPCG(seed, 11)), prefix: prefix, dbs: []string{"default"},
		names: map[string]map[string]*churned{"default": {}}}
}

// Bounds of what is there at a time.
const (
	mostDatabases   = 3
	mostCollections = 7
	mostPartitions  = 3
	namesInDatabase = 6 // few, so that they are used again
)

// operation does one thing, and says what. It says nothing if there is nothing that it could be done to.
type operation func(*Churn, context.Context) (string, error)

// operations by weight.
var operations = []struct {
	weight int
	do     operation
}{
	{2, (*Churn).createDatabase},
	{1, (*Churn).dropDatabase},
	{12, (*Churn).createCollection},
	{3, (*Churn).dropCollection},
	{5, (*Churn).createPartition},
	{3, (*Churn).dropPartition},
	{5, (*Churn).createAlias},
	{4, (*Churn).alterAlias},
	{3, (*Churn).dropAlias},
	{4, (*Churn).rename},
	{2, (*Churn).move},
	{3, (*Churn).swap},
	{3, (*Churn).renameAndRecreate},
	{2, (*Churn).blueGreen},
	{8, (*Churn).createIndex},
	{3, (*Churn).dropIndex},
	{4, (*Churn).otherIndex},
	{7, (*Churn).load},
	{4, (*Churn).loadPartitions},
	{3, (*Churn).release},
	{3, (*Churn).releasePartitions},
	{2, (*Churn).flush},
	{12, (*Churn).upsert},
	{6, (*Churn).delete},
}

// Step does one operation and notes it down.
func (c *Churn) Step(ctx context.Context) error {
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	for {
		n := c.rng.IntN(total)
		for _, o := range operations {
			if n -= o.weight; n >= 0 {
				continue
			}
			did, err := o.do(c, ctx)
			if did != "" {
				c.Log = append(c.Log, did)
			}
			if err != nil {
				return fmt.Errorf("operation %d, %s: %w", len(c.Log), did, err)
			}
			if did != "" {
				return nil
			}
			break
		}
	}
}

// Selects reports whether a database, given without a collection, or a collection is the Churn's.
func (c *Churn) Selects(database, collection string) bool {
	return strings.HasPrefix(database, c.prefix) || database == "default" && strings.HasPrefix(collection, c.prefix)
}

// Clean drops all that is left.
func (c *Churn) Clean(ctx context.Context) error {
	for len(c.cols) > 0 {
		if _, err := c.drop(ctx, c.cols[0]); err != nil {
			return err
		}
	}
	for _, db := range c.dbs[1:] {
		if err := answered(c.svc.DropDatabase(ctx, &milvuspb.DropDatabaseRequest{DbName: db})); err != nil {
			return err
		}
	}
	return nil
}

// pick is one of them, or the zero value where there is none.
func pick[T any](c *Churn, from []T) (one T) {
	if len(from) == 0 {
		return one
	}
	return from[c.rng.IntN(len(from))]
}

// collection is one that the condition is true of, or nil.
func (c *Churn) collection(condition func(*churned) bool) *churned {
	var fit []*churned
	for _, col := range c.cols {
		if condition(col) {
			fit = append(fit, col)
		}
	}
	return pick(c, fit)
}

func anyOf(*churned) bool { return true }

// free is a name that nothing in the database has.
func (c *Churn) free(db string) string {
	var all []string
	for i := range namesInDatabase {
		if n := c.prefix + string(rune('a'+i)); !c.taken(db, n) {
			all = append(all, n)
		}
	}
	return pick(c, all)
}

func (c *Churn) taken(db, name string) bool { _, ok := c.names[db][name]; return ok }

// aliases are the names in a database that are not a collection's own.
func (c *Churn) aliases(db string) []string {
	var all []string
	for _, n := range slices.Sorted(maps.Keys(c.names[db])) {
		if of := c.names[db][n]; of == nil || of.name != n {
			all = append(all, n)
		}
	}
	return all
}

// aliasesOf are the other names of a collection.
func (c *Churn) aliasesOf(col *churned) []string {
	return slices.DeleteFunc(c.aliases(col.db), func(n string) bool { return c.names[col.db][n] != col })
}

func (c *Churn) createDatabase(ctx context.Context) (string, error) {
	if len(c.dbs) >= mostDatabases {
		return "", nil
	}
	name := c.prefix + "db" + strconv.Itoa(c.rng.IntN(mostDatabases))
	if slices.Contains(c.dbs, name) {
		return "", nil
	}
	c.dbs, c.names[name] = append(c.dbs, name), map[string]*churned{}
	return "create database " + name, answered(c.svc.CreateDatabase(ctx, &milvuspb.CreateDatabaseRequest{DbName: name}))
}

// dropDatabase drops a database with all that is in it.
func (c *Churn) dropDatabase(ctx context.Context) (string, error) {
	db := pick(c, c.dbs[1:])
	if db == "" {
		return "", nil
	}
	did := "drop database " + db
	for _, col := range slices.Clone(c.cols) {
		if col.db == db {
			how, err := c.drop(ctx, col)
			did += ", " + how
			if err != nil {
				return did, err
			}
		}
	}
	for _, alias := range c.aliases(db) {
		if err := answered(c.svc.DropAlias(ctx, &milvuspb.DropAliasRequest{DbName: db, Alias: alias})); err != nil {
			return did, err
		}
	}
	c.dbs = slices.DeleteFunc(c.dbs, func(n string) bool { return n == db })
	delete(c.names, db)
	return did, answered(c.svc.DropDatabase(ctx, &milvuspb.DropDatabaseRequest{DbName: db}))
}

func (c *Churn) createCollection(ctx context.Context) (string, error) {
	db := pick(c, c.dbs)
	name := c.free(db)
	if name == "" || len(c.cols) >= mostCollections {
		return "", nil
	}
	return c.create(ctx, db, name)
}

func (c *Churn) create(ctx context.Context, db, name string) (string, error) {
	col := &churned{db: db, name: name, kind: schemaKind(c.rng.IntN(int(kinds))), index: map[string]string{}}
	req, err := col.kind.request(db, name, c.rng)
	if err != nil {
		return "", err
	}
	c.cols, c.names[db][name] = append(c.cols, col), col
	return fmt.Sprintf("create %s of kind %d", col, col.kind), answered(c.svc.CreateCollection(ctx, req))
}

func (c *Churn) dropCollection(ctx context.Context) (string, error) {
	col := c.collection(anyOf)
	if col == nil {
		return "", nil
	}
	return c.drop(ctx, col)
}

// drop drops a collection and, mostly before it, its aliases. Milvus 2.3 keeps those that are left, as names of nothing.
func (c *Churn) drop(ctx context.Context, col *churned) (string, error) {
	did := "drop " + col.String()
	leave := c.rng.IntN(4) == 0
	for _, alias := range c.aliasesOf(col) {
		if leave {
			did += ", leaving alias " + alias
			c.names[col.db][alias] = nil
			continue
		}
		did += " after alias " + alias
		delete(c.names[col.db], alias)
		if err := answered(c.svc.DropAlias(ctx, &milvuspb.DropAliasRequest{DbName: col.db, Alias: alias})); err != nil {
			return did, err
		}
	}
	delete(c.names[col.db], col.name)
	c.cols = slices.DeleteFunc(c.cols, func(x *churned) bool { return x == col })
	return did, answered(c.svc.DropCollection(ctx, &milvuspb.DropCollectionRequest{DbName: col.db, CollectionName: col.name}))
}

func (c *Churn) createPartition(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return x.kind != keyed && len(x.parts) < mostPartitions })
	if col == nil {
		return "", nil
	}
	p := "p" + strconv.Itoa(c.rng.IntN(mostPartitions))
	if slices.Contains(col.parts, p) {
		return "", nil
	}
	col.parts = append(col.parts, p)
	return fmt.Sprintf("create partition %s of %s", p, col), answered(c.svc.CreatePartition(ctx,
		&milvuspb.CreatePartitionRequest{DbName: col.db, CollectionName: col.name, PartitionName: p}))
}

// dropPartition releases the partition first, as Milvus wants it.
func (c *Churn) dropPartition(ctx context.Context) (string, error) {
	col := c.collection(func(x *churned) bool { return len(x.parts) > 0 })
	if col == nil {
		return "", nil
	}
	p := pick(c, col.parts)
	col.parts = slices.DeleteFunc(col.parts, func(n string) bool { return n == p })
	did := fmt.Sprintf("drop partition %s of %s", p, col)
	err := answered(c.svc.ReleasePartitions(ctx, &milvuspb.ReleasePartitionsRequest{DbName: col.db, CollectionName: col.name, PartitionNames: []string{p}}))
	if err != nil {
		return did, err
	}
	return did, answered(c.svc.DropPartition(ctx, &milvuspb.DropPartitionRequest{DbName: col.db, CollectionName: col.name, PartitionName: p}))
}
