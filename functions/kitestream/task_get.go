package main

import (
	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newGet() *cobra.Command {
	var watched bool
	c := &cobra.Command{
		Use: "get NAME", Short: "Show a task: states, lag, errors, lanes",
		Long: "Show a task: its state, per target and collection the lag in seconds and rows (0 when all is applied), what is\n" +
			"in its way and what to do about it, and who holds its bridge and lanes. With --watch it shows first, on standard error,\n" +
			"how far the copies of existing rows are, as bars on a terminal, until all are done.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, func(client *control.Client) (*control.View, error) {
				if watched {
					return watch(c.Context(), client, args[0], c.ErrOrStderr())
				}
				return client.Get(c.Context(), args[0])
			}, (*printer).got)
		},
	}
	c.Flags().BoolVarP(&watched, "watch", "w", false, "show how far the copies of existing rows are until they are done")
	return c
}
