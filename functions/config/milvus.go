package config

import (
	"fmt"
	"os"
	"strings"
)

// SourceToken is the login for the source's API, from wherever it is kept. A file is read each time.
func (c Config) SourceToken() (string, error) {
	if c.SourceMilvusTokenFile == "" {
		return string(c.SourceMilvusToken), nil
	}
	b, err := os.ReadFile(c.SourceMilvusTokenFile)
	if err != nil {
		return "", fmt.Errorf("read the login for the source's API: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
