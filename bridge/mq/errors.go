package mq

import (
	"errors"
	"fmt"
)

var (
	// ErrPosition marks a position that this kind of queue cannot have made, or two that have no order.
	ErrPosition = errors.New("not a position of this queue")
	// ErrClosed is what a closed queue or reader answers.
	ErrClosed = errors.New("queue is closed")
)

// GapError says that a channel no longer holds the message that should have come next, so that nothing read from it
// from now on could be complete (guarantee 5). No retry helps: the way out is in the message.
type GapError struct {
	Channel string
	Wanted  Position // the message that should have come next
	Found   Position // where reading could go on, with changes missing; empty when there is no such channel
	Reason  string   // what happened to the messages, as far as the queue shows
}

// Error names the channel, both positions and what an operator can do.
func (e *GapError) Error() string {
	found := "the channel is gone"
	if e.Found != "" {
		found = fmt.Sprintf("the channel goes on at %s", e.Found)
	}
	return fmt.Sprintf("channel %s: the message at position %s is missing: %s; %s. "+
		"Changes are lost to the queue for good: a snapshot of the collections on this channel brings them back",
		e.Channel, e.Wanted, e.Reason, found)
}
