package bridge

import (
	"context"
	"maps"
	"slices"
	"time"

	"kitestream/bridge/catalog"
	"kitestream/jetstream"
)

// reportStatus writes the bridge's status each second, as people and `task get` see it.
func (b *Bridge) reportStatus(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		if err := b.report(ctx); err != nil && ctx.Err() == nil {
			b.cfg.Log.Debug("status not written", keyError, err)
		}
		select {
		case <-t.C:
		case <-b.progress.news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Bridge) putStatus(ctx context.Context, pub *jetstream.Publisher) error {
	st := b.progress.status()
	st.Worker, st.At, st.State = b.cfg.Holder, time.Now().UTC(), "running"
	if since, why := pub.Waiting(); why != nil {
		st.State, st.Since, st.Error = "waiting", since, why.Error()
	}
	task := b.cfg.Task
	if st.WatermarkTS > 0 {
		b.cfg.Metrics.behind.WithLabelValues(task.Spec.Name).Set(max(0, time.Since(jetstream.Physical(st.WatermarkTS)).Seconds()))
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return jetstream.PutBridgeStatus(ctx, b.cfg.Status, task.Ref(), st)
}

// schemaStatus is what a status says of the source's schema.
type schemaStatus struct {
	live           []string // channels that live collections stand on
	collections    []jetstream.CollectionStatus
	databases      []string
	missing, empty []jetstream.QualifiedName
	blocked        []string
}

// show takes what the status says of the schema; only the sequencer's goroutine may.
func (s *sequencer) show() {
	s.stale = false
	v := s.meta.View()
	st := schemaStatus{live: s.ledger.channels()}
	var names []jetstream.QualifiedName
	for _, id := range slices.Sorted(maps.Keys(v.Collections)) {
		c := v.Collections[id]
		if db := v.Databases[c.DatabaseID]; db != nil && c.State == catalog.Created {
			names = append(names, jetstream.QualifiedName{Database: db.Name, Collection: c.Name})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.ledger.collections)) {
		c := s.ledger.collections[id]
		cs := jetstream.CollectionStatus{ID: id, Database: c.Database, Collection: c.Name, State: "running"}
		if c.Stopped != "" {
			cs.State, cs.Error = "stopped", c.Stopped
		}
		s.showCopy(c, &cs)
		st.collections = append(st.collections, cs)
	}
	for _, id := range slices.Sorted(maps.Keys(s.ledger.databases)) {
		if id != defaultDatabaseID { // which is there of itself
			st.databases = append(st.databases, s.ledger.databases[id].Name)
		}
	}
	r := s.task.Resolve(names)
	st.missing, st.empty = r.Missing, r.Empty
	for _, ch := range slices.Sorted(maps.Keys(s.blocked)) {
		st.blocked = append(st.blocked, ch+": "+s.blocked[ch])
	}
	s.progress.show(st)
}
