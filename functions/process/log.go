package process

import (
	"io"
	"log/slog"

	"kitestream/functions/config"
)

// Log is the logger that the configuration asks for.
func Log(w io.Writer, cfg config.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// Keys of log attributes.
const (
	keyPart  = "part"
	keyError = "error"
	keyURL   = "url"
)
