package host

import (
	"context"
	"fmt"
	"slices"

	"kitestream/handlers"
	"kitestream/jetstream"
)

// keepUnmet keeps which settings of a batch the target refused for good, before they are acked, and forgets those that
// were unmet before and have been carried out.
func (t *target) keepUnmet(ctx context.Context, events []*jetstream.Event, result handlers.Result) error {
	for _, e := range events {
		if !e.Kind.Optional() || slices.ContainsFunc(result.Stopped, func(s handlers.Stopped) bool { return s.CollectionID == e.CollectionID }) {
			continue
		}
		if err := t.keepOneUnmet(ctx, e, result.Unmet); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) keepOneUnmet(ctx context.Context, e *jetstream.Event, unmet []handlers.Unmet) error {
	i := slices.IndexFunc(unmet, func(u handlers.Unmet) bool { return u.Event == e })
	if i < 0 {
		return t.unmets.Applied(ctx, e)
	}
	return t.unmets.Refused(ctx, e, unmet[i].Code, unmet[i].Err.Error())
}

// retryUnmet applies again what was refused and is to be tried again. The holder of the settings' lane does so, between two
// batches: so all settings that it has come to are applied, and none after them.
func (t *target) retryUnmet(ctx context.Context, lanes []*heldLane) (worked bool, err error) {
	i := slices.IndexFunc(lanes, func(l *heldLane) bool { return l.number == jetstream.SettingsLane })
	if i < 0 || lanes[i].replay != nil {
		return false, nil
	}
	for _, u := range t.unmets.List() {
		if !u.Retry {
			continue
		}
		if _, stopped := t.stops.Lookup(u.CollectionID); stopped && u.CollectionID != 0 {
			continue // it is tried when that goes on
		}
		if err := t.retryOne(ctx, lanes[i], u); err != nil {
			return worked, fmt.Errorf("try again what was refused of %s: %w", u.Name, err)
		}
		worked = true
	}
	return worked, nil
}

func (t *target) retryOne(ctx context.Context, l *heldLane, u jetstream.Unmet) error {
	ctx, cancel := t.whileHeld(ctx, []*heldLane{l})
	defer cancel()
	events, err := u.Replay()
	if err != nil {
		return err
	}
	result := t.handlers.Apply(ctx, events)
	if result.Err != nil {
		return result.Err
	}
	if n := len(result.Unmet); n > 0 {
		last := result.Unmet[n-1]
		return t.unmets.RefusedAgain(ctx, u.Setting, last.Code, last.Err.Error())
	}
	t.log.Info("a refused setting is carried out", "setting", u.Setting)
	return t.unmets.Met(ctx, u.Setting)
}
