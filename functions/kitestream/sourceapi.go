package main

import (
	"context"
	"sync"

	"kitestream/bridge"
	"kitestream/bridge/scan"
	"kitestream/functions/config"
)

// sourceAPI is the source's API, connected to when it is first asked: a bridge follows its queue without it.
type sourceAPI struct {
	cfg config.Config

	mu     sync.Mutex
	client *scan.Client
}

// newSourceAPI is nil where no URI is set.
func newSourceAPI(cfg config.Config) *sourceAPI {
	if cfg.SourceMilvusURI == "" {
		return nil
	}
	return &sourceAPI{cfg: cfg}
}

// dialSource connects to the source's API.
func dialSource(ctx context.Context, cfg config.Config) (*scan.Client, error) {
	token, err := cfg.SourceToken()
	if err != nil {
		return nil, err
	}
	return scan.Dial(ctx, scan.Config{URI: cfg.SourceMilvusURI, Token: token})
}

// forBridges is what a bridge is given.
func (a *sourceAPI) forBridges() bridge.SourceAPI {
	if a == nil {
		return nil
	}
	return a
}

func (a *sourceAPI) connected(ctx context.Context) (bridge.SourceAPI, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == nil {
		c, err := dialSource(ctx, a.cfg)
		if err != nil {
			return nil, err
		}
		a.client = c
	}
	return bridge.NewSourceAPI(a.client), nil
}

// Now is part of bridge.SourceAPI.
func (a *sourceAPI) Now(ctx context.Context) (uint64, error) {
	api, err := a.connected(ctx)
	if err != nil {
		return 0, err
	}
	return api.Now(ctx)
}

// Collection is part of bridge.SourceAPI.
func (a *sourceAPI) Collection(ctx context.Context, database, name string) (bridge.SourceCollection, error) {
	api, err := a.connected(ctx)
	if err != nil {
		return nil, err
	}
	return api.Collection(ctx, database, name)
}

// close ends the connection, if there is one.
func (a *sourceAPI) close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == nil {
		return nil
	}
	return a.client.Close()
}
