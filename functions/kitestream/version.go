package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "kitestream", control.Version+revision())
			return failed(err)
		},
	}
}

// version is what the binary was built from; the linker sets it (see the Makefile).
var version string

// revision is the linker's version, else the commit that the build noted.
func revision() string {
	if version != "" {
		return " (" + version + ")"
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return " (" + s.Value + ")"
		}
	}
	return ""
}
