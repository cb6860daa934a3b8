package main

import (
	"context"
	"fmt"
	"io"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"kitestream/functions/config"
	"kitestream/functions/natsd"
	"kitestream/functions/process"
)

func newUp() *cobra.Command {
	return withSettings(&cobra.Command{
		Use: "up", Short: "Run control, bridges and workers in one process, with a NATS server of its own",
		Long: "Run control, bridges and workers in one process. Without KITESTREAM_NATS_URL it runs a NATS server too, which\n" +
			"keeps its store in KITESTREAM_DATA_DIR. SIGTERM or SIGINT: what is in flight is finished, within ten seconds.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := settings(config.Up)
			if err != nil {
				return err
			}
			process.KeepMemory(process.SoftMemoryServer)
			return failed(up(c.Context(), cfg, c.OutOrStdout(), c.ErrOrStderr()))
		},
	}, config.Up)
}

func up(ctx context.Context, cfg config.Config, out, errs io.Writer) error {
	log := process.Log(errs, cfg)
	var inProcess []nats.Option
	if cfg.NATSURL == "" {
		srv, err := natsd.Start(ctx, cfg.NATSListen, cfg.DataDir, log)
		if err != nil {
			return err
		}
		defer srv.Stop() // last: everything else needs it to stop well
		fmt.Fprintln(out, "NATS:", srv.URL())
		cfg.NATSURL = srv.URL() // for the log; the connection is without a socket
		inProcess = append(inProcess, srv.InProcess())
	}
	parts := []process.MakePart{newControlPart, newBridgePart, newWorkerPart}
	return process.Run(ctx, cfg, log, parts, inProcess...)
}
