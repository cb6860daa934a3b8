package catalog_test

import (
	"context"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"kitestream/bridge/catalog"
)

// Follows the collections of a source until ctx ends.
func Example() {
	follow := func(ctx context.Context, endpoint string) error {
		cfg := catalog.DefaultConfig()
		cfg.Endpoints = []string{endpoint}
		c, err := catalog.Open(ctx, cfg, slog.Default())
		if err != nil {
			return err
		}
		defer c.Close()
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return c.Run(ctx) })
		g.Go(func() error {
			for {
				changed := c.Changed() // before View, so that nothing is missed
				for _, col := range c.View().Collections {
					if col.State == catalog.Created {
						fmt.Println(col.Name, len(col.Schema.GetFields()))
					}
				}
				select {
				case <-changed:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		return g.Wait()
	}
	_ = follow
}
