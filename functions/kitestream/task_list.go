package main

import (
	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "Show all tasks", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return ask(c, func(client *control.Client) (*control.ListAnswer, error) { return client.List(c.Context()) }, (*printer).listed)
		},
	}
}
