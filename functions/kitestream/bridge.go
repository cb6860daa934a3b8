package main

import (
	"github.com/spf13/cobra"

	"kitestream/functions/config"
	"kitestream/functions/process"
)

func newBridge() *cobra.Command {
	return withSettings(&cobra.Command{
		Use: "bridge", Short: "Read a source and publish what changes in it",
		Long: "Read a source's catalogue and queue, and publish its tasks' events. Any number of these may run for a source:\n" +
			"each task is in the hands of one, and moves to another when that one is gone.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := settings(config.Bridge)
			if err != nil {
				return err
			}
			process.KeepMemory(process.SoftMemory)
			log := process.Log(c.ErrOrStderr(), cfg)
			return failed(process.Run(c.Context(), cfg, log, []process.MakePart{newBridgePart}))
		},
	}, config.Bridge)
}
