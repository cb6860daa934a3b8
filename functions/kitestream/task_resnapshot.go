package main

import (
	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newResnapshot() *cobra.Command {
	var collections []string
	cmd := &cobra.Command{
		Use: "resnapshot NAME --collection DATABASE.COLLECTION...", Short: "Copy the existing rows of a collection anew",
		Long: "Copy the rows of a collection anew from the source, while it is written to. It heals a collection that had stopped on\n" +
			"the source's side, such as for a gap in its queue: rows that were deleted there meanwhile go on the targets, too.\n" +
			"Returns when the copy has begun; 'task get' shows how far it is, and 'task wait' waits for its end.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, func(client *control.Client) (*control.ResnapshotAnswer, error) {
				return client.Resnapshot(c.Context(), control.ResnapshotRequest{Name: args[0], Collections: collections})
			}, func(p *printer, a *control.ResnapshotAnswer) { p.line("being copied anew: %s", names(a.Collections)) })
		},
	}
	cmd.Flags().StringArrayVar(&collections, "collection", nil, "a collection by its name on the source; may be given several times")
	_ = cmd.MarkFlagRequired("collection") // the flag is there
	return cmd
}
