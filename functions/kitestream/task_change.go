package main

import (
	"context"

	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newPause() *cobra.Command {
	return newChange("pause", "Stop applying a task",
		"Stop applying a task to its targets. Its bridge goes on capturing to the stream, so that nothing is lost when the\n"+
			"source's queue forgets; the stream grows meanwhile.", (*control.Client).Pause)
}

func newResume() *cobra.Command {
	return newChange("resume", "Go on applying a task, and try stopped collections again",
		"Go on applying a task that was paused. Collections that have stopped are tried again from where they stopped, also\n"+
			"when the task is running.", (*control.Client).Resume)
}

func newDelete() *cobra.Command {
	return newChange("delete", "Remove a task and its stream",
		"Remove a task, its stream and all that is known of it. What the targets have stays there. Returns when it is gone;\n"+
			"asking again after an error is safe.", (*control.Client).Delete)
}

// newChange is a verb that changes one task and prints what became of it.
func newChange(verb, short, long string, change func(*control.Client, context.Context, string) (*control.ChangeAnswer, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Long: long, Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, func(client *control.Client) (*control.ChangeAnswer, error) {
				return change(client, c.Context(), args[0])
			}, (*printer).changed)
		},
	}
}
