package main

import (
	"errors"

	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newRewind() *cobra.Command {
	var target, to string
	c := &cobra.Command{
		Use: "rewind NAME", Short: "Have a target apply again from an earlier place",
		Long: "Have a target of a task apply again, in order, everything from an earlier place of the task's stream on, and end where\n" +
			"it was: for a target that has lost something, or was written to by others. The place is a sequence of the stream\n" +
			"(1200), a time (2026-01-31T12:00:00Z) or how long ago (2h): the first event that was published then or later. Names\n" +
			"and partitions stay as they are now; rows are missing only as far as the history is. Collections that have stopped\n" +
			"since are tried again. Returns when the target has let go of its place; 'task wait' waits until it has all of it\n" +
			"again. Asking again after an error is safe.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			if target == "" || to == "" {
				return errors.New("say which target goes back, and where to: --target TARGET --to TIME|SEQUENCE")
			}
			return ask(c, func(client *control.Client) (*control.RewindAnswer, error) {
				return client.Rewind(c.Context(), control.RewindRequest{Name: args[0], Target: target, To: to})
			}, (*printer).rewound)
		},
	}
	c.Flags().StringVar(&target, "target", "", "the target that goes back")
	c.Flags().StringVar(&to, "to", "", "where to: a sequence, a time (RFC 3339), or how long ago (2h30m)")
	return c
}
