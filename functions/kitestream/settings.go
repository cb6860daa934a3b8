package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kitestream/functions/config"
)

// settings reads the environment. Every problem is in the error, a line each, and nothing has been started.
func settings(role config.Role) (config.Config, error) {
	cfg, err := config.Load(role, os.Environ())
	if err != nil {
		return cfg, fmt.Errorf("bad settings, nothing was started:\n%s", indent(err))
	}
	return cfg, nil
}

func indent(err error) string { return "  " + strings.ReplaceAll(err.Error(), "\n", "\n  ") }

// withSettings adds the role's table of variables to a command's help.
func withSettings(c *cobra.Command, role config.Role) *cobra.Command {
	help := c.HelpFunc()
	c.SetHelpFunc(func(c *cobra.Command, args []string) {
		help(c, args)
		w := c.OutOrStdout()
		fmt.Fprintln(w, "\nEnvironment:")
		if err := config.Help(w, role); err != nil {
			fmt.Fprintln(c.ErrOrStderr(), "error:", err)
		}
	})
	return c
}

// oneName is the argument of verbs about one task.
func oneName(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("give the name of one task")
	}
	return nil
}
