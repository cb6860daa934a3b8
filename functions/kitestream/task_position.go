package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newPosition() *cobra.Command {
	var sync bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "position NAME", Short: "Show how far a task is: source channels and lanes",
		Long: "Show how far a task is: where each of the source's channels stands, and per lane of each target the stream\n" +
			"sequence up to which everything is applied. With --sync the bridge first brings all that the source holds onto the\n" +
			"stream, and WANTED is the sequence at which a lane has it.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, func(client *control.Client) (*control.PositionAnswer, error) {
				ctx, cancel := context.WithTimeout(c.Context(), timeout+time.Second)
				defer cancel()
				return client.Position(ctx, control.PositionRequest{Name: args[0], Sync: sync, TimeoutMS: timeout.Milliseconds()})
			}, (*printer).position)
		},
	}
	c.Flags().BoolVar(&sync, "sync", false, "wait until all that the source holds now is on the stream")
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long --sync may take, at most 1h")
	return c
}
