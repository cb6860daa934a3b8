package control

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kitestream/jetstream"
)

const (
	// stale is the age from which a bridge's status says nothing any more. Bridges write theirs each second.
	stale = 5 * time.Second
	// tickDelay is how far the source's own time ticks let the watermark be behind when all is well (200 ms each, plus
	// what a busy machine adds). Below it a target that has applied everything has no lag.
	tickDelay = 2 * time.Second
)

// view makes of the facts what people and programs are shown.
func (f *facts) view() *View {
	v := &View{Summary: summary(f.task), Select: f.task.Spec.Select, Bridge: f.viewBridge(), Promoted: f.task.Promoted}
	v.Resolved = make([]jetstream.QualifiedName, 0, len(f.collections()))
	for _, c := range f.collections() {
		v.Resolved = append(v.Resolved, jetstream.QualifiedName{Database: c.Database, Collection: c.Collection})
	}
	if f.bridge != nil {
		v.WaitingFor, v.Empty = f.bridge.Waiting, f.bridge.Empty
	}
	for i := range f.targets {
		v.Targets = append(v.Targets, f.viewTarget(&f.targets[i]))
	}
	f.sum(v)
	return v
}

// summary is what the record alone says.
func summary(t *jetstream.Task) Summary {
	s := Summary{Name: t.Spec.Name, ID: t.ID, Source: t.Spec.Source, State: Running, Lanes: t.Spec.Lanes, Created: t.Created}
	for _, target := range t.Spec.Targets {
		s.Targets = append(s.Targets, target.Name)
	}
	switch t.State {
	case jetstream.TaskPaused:
		s.State, s.Why, s.Do = Paused, "it was paused; the bridge goes on capturing", resumeHint(t.Spec.Name)
		if p := t.Promoted; p != nil {
			s.Why, s.Do, s.Since = fmt.Sprintf("target %s is being promoted", p.Target), "", p.At
			if p.Done {
				s.Why = fmt.Sprintf("target %s was promoted: nothing is applied any more", p.Target)
				s.Do = fmt.Sprintf("'kitestream task delete %s' when it is not needed any more; 'kitestream promote %s --undo' has it go on", t.Spec.Name, t.Spec.Name)
			}
		}
	case jetstream.TaskDeleting:
		s.State, s.Why = Deleting, "its stream and records are being removed"
	}
	return s
}

// sum finds what of the parts is in the task's way: first the bridge, then the targets in their order.
func (f *facts) sum(v *View) {
	if v.State != Running {
		return
	}
	if v.Bridge.State != Running {
		v.State, v.Why, v.Since = v.Bridge.State, v.Bridge.Why, v.Bridge.Since
		if f.holder == "" {
			v.Do = CodeNoBridge.Do()
		}
		return
	}
	for _, want := range []State{Stopped, Waiting, Running} {
		for _, t := range v.Targets {
			if v.Why == "" && t.State == want && t.Why != "" {
				v.State, v.Why, v.Do, v.Since = want, "target "+t.Name+": "+t.Why, t.Do, t.Since
			}
		}
	}
}

func (f *facts) viewBridge() BridgeView {
	b := BridgeView{Holder: f.holder, State: Running}
	if f.bridge == nil {
		b.State, b.Since = Waiting, f.task.Created
		b.Why = fmt.Sprintf("no bridge holds the task; none of source %s has ever", f.task.Spec.Source)
		if f.holder != "" {
			b.Why = "the bridge is starting"
		}
		return b
	}
	st := f.bridge
	b.At, b.Seq, b.Watermark, b.Blocked = st.At, st.Seq, moment(st.WatermarkTS), st.Blocked
	switch {
	case f.holder == "":
		b.State, b.Since = Waiting, st.At
		b.Why = fmt.Sprintf("no bridge holds the task; the last one was %s", st.Worker)
	case f.at.Sub(st.At) > stale:
		b.State, b.Since = Waiting, st.At
		b.Why = fmt.Sprintf("the bridge, held by %s, gives no sign", f.holder)
	case st.State == "stopped":
		b.State, b.Why, b.Since = Stopped, st.Error, st.Since
	case st.State != "running":
		b.State, b.Why, b.Since = Waiting, st.Error, st.Since
	}
	if b.State != Running && b.Why == "" {
		b.Why = "the bridge is " + st.State
	}
	return b
}

func (f *facts) viewTarget(t *targetFacts) TargetView {
	v := TargetView{Name: t.spec.Name, URI: t.spec.URI, State: Running}
	for n := range t.lanes {
		v.Lanes = append(v.Lanes, f.viewLane(n, &t.lanes[n]))
	}
	v.Collections = []CollectionView{}
	for _, c := range f.collections() {
		v.Collections = append(v.Collections, f.viewCollection(t, c))
	}
	for _, u := range t.unmet {
		v.Unmet = append(v.Unmet, f.viewUnmet(u))
	}
	if t.last != nil {
		v.Verified = &VerifiedView{Verdict: *t.last, AgeSeconds: max(0, f.at.Sub(t.last.At).Seconds())}
	}
	if r, ok := f.task.Rewinds[t.spec.Name]; ok && r.To > 0 {
		v.Rewound = &RewoundView{Seq: r.To, At: r.At}
	}
	v.Lag = f.targetLag(t, v.Collections)
	f.targetState(&v)
	return v
}

func (f *facts) viewUnmet(u jetstream.Unmet) UnmetView {
	v := UnmetView{Database: u.Name.Database, Collection: u.Name.Collection, Kind: u.Kind, Setting: u.Setting, Code: u.Code, Why: u.Reason, Since: u.Since}
	v.Do = "rows go on without it; mend what the reason names, then " + resumeHint(f.task.Spec.Name)
	if u.Retry {
		v.Do = "nothing: it is being tried again"
	}
	return v
}

// targetState finds what is in a target's way.
func (f *facts) targetState(v *TargetView) {
	if f.task.State == jetstream.TaskPaused {
		of := summary(f.task)
		v.State, v.Why, v.Do = Paused, "the task is paused: "+of.Why, of.Do
		return
	}
	if r := f.task.Rewinds[v.Name]; r.Pending {
		v.State, v.Since = Waiting, r.At
		v.Why = fmt.Sprintf("it is being rewound to sequence %d, as soon as its workers have let go of it", r.To)
		return
	}
	var free []string
	for _, l := range v.Lanes {
		if l.Holder == "" {
			free = append(free, strconv.Itoa(l.Lane))
			v.Since = later(v.Since, l.Since)
		}
	}
	if len(free) > 0 {
		v.State, v.Why = Waiting, "no worker holds lane "+strings.Join(free, ", ")
		v.Do = "start 'kitestream worker' (or 'up'); with workers there it is taken within seconds"
		return
	}
	for _, l := range v.Lanes {
		if l.State == Waiting {
			v.State, v.Why, v.Code, v.Since = Waiting, l.Why, l.Code, l.Since
			return
		}
	}
	f.countStopped(v)
}

func (f *facts) countStopped(v *TargetView) {
	i := slices.IndexFunc(v.Collections, func(c CollectionView) bool { return c.State == Stopped })
	if i < 0 {
		return
	}
	n := 0
	for _, c := range v.Collections {
		if c.State == Stopped {
			n++
		}
	}
	first := v.Collections[i]
	v.Code, v.Do, v.Since = first.Code, first.Do, first.Since
	v.Why = fmt.Sprintf("%d of %d collections is stopped: %s.%s: %s", n, len(v.Collections), first.Database, first.Collection, first.Why)
	if n == len(v.Collections) {
		v.State = Stopped
	}
}

func (f *facts) viewLane(n int, l *laneFacts) LaneView {
	v := LaneView{Lane: n, Holder: l.holder, State: Running, Floor: l.state.Floor, Pending: l.state.Pending + uint64(max(0, l.state.AckPending))}
	switch {
	case f.task.State == jetstream.TaskPaused:
		v.State = Paused
	case l.holder == "":
		v.State, v.Why, v.Since = Waiting, "no worker holds it", f.task.Created
		if l.record != nil {
			v.Since = l.record.At
		}
	case l.record != nil && l.record.State == "waiting":
		v.State, v.Why, v.Code, v.Since = Waiting, l.record.Error, l.record.Code, l.record.Since
	case l.record != nil && l.record.State == "barrier":
		v.Why, v.Since = "waits for the other lanes at a drop, a rename or a flush", l.record.Since
	}
	return v
}

func (f *facts) viewCollection(t *targetFacts, c jetstream.CollectionStatus) CollectionView {
	v := CollectionView{Database: c.Database, Collection: c.Collection, ID: c.ID, State: Running}
	if c.Error != "" {
		v.State, v.Why, v.Since = Stopped, "on the source: "+c.Error, time.Time{}
		v.Do = "see to the source as the message says; 'kitestream task resnapshot' copies the collection anew"
		v.Lag = Lag{Text: string(Stopped)}
		return v
	}
	if i := slices.IndexFunc(t.stops, func(s jetstream.Stop) bool { return s.CollectionID == c.ID }); i >= 0 {
		stop := t.stops[i]
		v.State, v.Why, v.Code, v.Since = Stopped, stop.Reason, stop.Code, stop.Since
		v.Do = "mend what the reason names, then " + resumeHint(f.task.Spec.Name)
		v.Lag = Lag{Text: string(Stopped), Seconds: seconds(f.at.Sub(stop.Since))}
		if stop.Retry {
			v.Do = "nothing: it is being tried again"
		}
		return v
	}
	if f.task.State == jetstream.TaskPaused {
		v.State = Paused
	}
	v.Lag = f.collectionLag(t, c)
	if s := c.Snapshot; s != nil && (s.Target == "" || s.Target == t.spec.Name) {
		v.Snapshot, v.Why = s, copying(s)
	}
	return v
}

// copying says how far the copy of existing rows is; nothing when it has ended.
func copying(s *jetstream.SnapshotStatus) string {
	if s.Done {
		return ""
	}
	text := fmt.Sprintf("existing rows are being copied: %d", s.Rows)
	if s.Total > 0 {
		text += fmt.Sprintf(" of about %d", s.Total)
	}
	if s.Rate > 0 {
		text += fmt.Sprintf(", %.0f rows/s, %v left", s.Rate, time.Duration(s.Seconds*float64(time.Second)).Round(time.Second))
	}
	if s.Error != "" {
		text += "; it waits: " + s.Error
	}
	return text
}

func resumeHint(task string) string { return "'kitestream task resume " + task + "'" }

// moment is a source timestamp as a time; zero for none.
func moment(ts uint64) time.Time {
	if ts == 0 {
		return time.Time{}
	}
	return jetstream.Physical(ts)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
