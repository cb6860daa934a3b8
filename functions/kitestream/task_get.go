package main

import (
	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newGet() *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Show a task: states, lag, errors, lanes",
		Long: "Show a task: its state, per target and collection the lag in seconds and rows (0 when all is applied), what is\n" +
			"in its way and what to do about it, and who holds its bridge and lanes.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, func(client *control.Client) (*control.View, error) { return client.Get(c.Context(), args[0]) }, (*printer).got)
		},
	}
}
