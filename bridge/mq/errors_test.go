package mq_test

import (
	"fmt"

	"kitestream/bridge/mq"
)

func ExampleGapError() {
	gap := &mq.GapError{Channel: "by-dev-rootcoord-dml_3", Wanted: "27", Found: "110", Reason: "it was trimmed by age"}
	fmt.Println(gap)
	gap.Found, gap.Reason = "", "the stream has been deleted"
	fmt.Println(gap)
	// Output:
	// channel by-dev-rootcoord-dml_3: the message at position 27 is missing: it was trimmed by age; the channel goes on at 110. Changes are lost to the queue for good: a snapshot of the collections on this channel brings them back
	// channel by-dev-rootcoord-dml_3: the message at position 27 is missing: the stream has been deleted; the channel is gone. Changes are lost to the queue for good: a snapshot of the collections on this channel brings them back
}
