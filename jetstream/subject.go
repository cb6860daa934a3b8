package jetstream

import (
	"fmt"
	"strconv"
	"strings"
)

// A subject is ks.<task>.<channel>.<lane>.<database>.<collection>.<kind>, so that a channel's last event, a lane's
// events and a collection's events are each one filter. Names are escaped by token.
const subjectPrefix = "ks"

const (
	laneAll  = "all"
	laneNone = "none"
)

// Address is what a subject says of its event.
type Address struct {
	Task, Channel        string
	Lane                 int // 0…, AllLanes or NoLane
	Database, Collection string
	Kind                 Kind
}

// StreamName is the name of the task's stream.
func StreamName(task string) string { return "KS_" + task }

// StreamSubjects is the filter that holds everything on the task's stream.
func StreamSubjects(task string) string { return subjectPrefix + "." + token(task) + ".>" }

// LaneSubjects are the filters of one lane's consumer: the lane's own events, and those on all lanes.
func LaneSubjects(task string, lane int) []string {
	t := token(task)
	return []string{
		fmt.Sprintf("%s.%s.*.%d.>", subjectPrefix, t, lane),
		fmt.Sprintf("%s.%s.*.%s.>", subjectPrefix, t, laneAll),
	}
}

// CollectionSubjects are the filters of one collection's events on one lane, and on all lanes.
func CollectionSubjects(task string, lane int, database, collection string) []string {
	t, db, c := token(task), token(database), token(collection)
	return []string{
		fmt.Sprintf("%s.%s.*.%d.%s.%s.>", subjectPrefix, t, lane, db, c),
		fmt.Sprintf("%s.%s.*.%s.%s.%s.>", subjectPrefix, t, laneAll, db, c),
	}
}

// RowSubjects are the filters of one collection's rows and keys on one lane, which has settings too.
func RowSubjects(task string, lane int, database, collection string) []string {
	t, db, c := token(task), token(database), token(collection)
	return []string{
		fmt.Sprintf("%s.%s.*.%d.%s.%s.%s", subjectPrefix, t, lane, db, c, Insert),
		fmt.Sprintf("%s.%s.*.%d.%s.%s.%s", subjectPrefix, t, lane, db, c, Delete),
	}
}

// KindSubjects lets the events of one kind through, of all lanes and collections.
func KindSubjects(task string, kind Kind) string {
	return fmt.Sprintf("%s.%s.*.*.*.*.%s", subjectPrefix, token(task), kind)
}

// AllLanesSubjects is the filter of the events that every lane is given: the changes of schema.
func AllLanesSubjects(task string) string {
	return fmt.Sprintf("%s.%s.*.%s.>", subjectPrefix, token(task), laneAll)
}

// ChannelSubjects is the filter of one channel's events. The last of them is the bridge's checkpoint of the channel.
func ChannelSubjects(task, channel string) string {
	return fmt.Sprintf("%s.%s.%s.>", subjectPrefix, token(task), token(channel))
}

// Subject is the subject of an event on a task's stream.
func Subject(task string, e *Event) string {
	return strings.Join([]string{
		subjectPrefix, token(task), token(e.Channel), laneToken(e.Lane), token(e.Database), token(e.Collection), string(e.Kind),
	}, ".")
}

// ParseSubject reads back what Subject wrote. The error wraps ErrMalformed.
func ParseSubject(subject string) (Address, error) {
	t := strings.Split(subject, ".")
	if len(t) != 7 || t[0] != subjectPrefix || t[6] == "" {
		return Address{}, fmt.Errorf("subject %q is not %s.task.channel.lane.database.collection.kind: %w", subject, subjectPrefix, ErrMalformed)
	}
	lane, err := parseLane(t[3])
	if err != nil {
		return Address{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	a := Address{Lane: lane, Kind: Kind(t[6])}
	for _, f := range []struct {
		to  *string
		tok string
	}{{&a.Task, t[1]}, {&a.Channel, t[2]}, {&a.Database, t[4]}, {&a.Collection, t[5]}} {
		if *f.to, err = untoken(f.tok); err != nil {
			return Address{}, fmt.Errorf("subject %q: %w", subject, err)
		}
	}
	return a, nil
}

func laneToken(lane int) string {
	switch lane {
	case AllLanes:
		return laneAll
	case NoLane:
		return laneNone
	}
	return strconv.Itoa(lane)
}

func parseLane(s string) (int, error) {
	switch s {
	case laneAll:
		return AllLanes, nil
	case laneNone:
		return NoLane, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%q is no lane: %w", s, ErrMalformed)
	}
	return n, nil
}

// token escapes a name for one token of a subject: letters, digits, '_' and '-' stand for themselves, every other byte
// becomes '=' and two hex digits, and the empty name a lone '='.
func token(name string) string {
	if name == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

func plain(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func untoken(tok string) (string, error) {
	if tok == "=" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(tok); i++ {
		switch {
		case plain(tok[i]):
			b.WriteByte(tok[i])
		case tok[i] == '=' && i+2 < len(tok):
			n, err := strconv.ParseUint(tok[i+1:i+3], 16, 8)
			if err != nil || plain(byte(n)) {
				return "", fmt.Errorf("token %q: %w", tok, ErrMalformed)
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			return "", fmt.Errorf("token %q: %w", tok, ErrMalformed)
		}
	}
	if s := b.String(); s != "" && token(s) == tok {
		return s, nil
	}
	return "", fmt.Errorf("token %q: %w", tok, ErrMalformed)
}
