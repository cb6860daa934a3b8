package main

import (
	"context"
	"os"

	"kitestream/bridge/scan"
	"kitestream/functions/control"
	"kitestream/functions/host"
	"kitestream/functions/process"
	"kitestream/jetstream"
)

// newVerifier compares targets with the source whose API is configured.
func newVerifier(p *process.Process, w *workerPart) *host.Verifier {
	ask := control.NewClient(p.NC)
	return host.NewVerifier(host.VerifierConfig{
		NC: p.NC, Buckets: p.Buckets, Leases: p.Leases, Tasks: p.Tasks, Source: p.Config.SourceName, Connect: openTarget,
		Read: host.Readers{
			Source: func(ctx context.Context) (*scan.Client, error) { return dialSource(ctx, p.Config) },
			Target: func(ctx context.Context, t jetstream.TargetSpec) (*scan.Client, error) {
				token, err := t.Token(os.LookupEnv)
				if err != nil {
					return nil, err
				}
				return scan.Dial(ctx, scan.Config{URI: t.URI, Token: token})
			},
		},
		Wait: func(ctx context.Context, target jetstream.TargetID, say func(string), synced func()) error {
			// A stopped collection is compared as it is.
			_, err := ask.Wait(ctx, target.Task.Name, control.WaitOptions{Targets: []string{target.Name}, Stopped: true, Notice: say, Synced: synced})
			return err
		},
		Holder: p.Holder, Log: p.Log, Metrics: w.metrics, Apply: w.apply,
	})
}
