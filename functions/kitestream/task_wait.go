package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kitestream/functions/control"
)

func newWait() *cobra.Command {
	var timeout time.Duration
	var targets []string
	c := &cobra.Command{
		Use: "wait NAME", Short: "Wait until the targets have all that the source holds now",
		Long: "Return when every target has applied everything that the source held when this was called. Ends with an error\n" +
			"when the task is paused or a collection is stopped, for then waiting does not help. What is waited for is told on\n" +
			"standard error.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			if timeout <= 0 {
				return errors.New("--timeout must be more than 0")
			}
			return ask(c, func(client *control.Client) (*control.WaitAnswer, error) {
				ctx, cancel := context.WithTimeout(c.Context(), timeout)
				defer cancel()
				return client.Wait(ctx, args[0], control.WaitOptions{Targets: targets, Notice: func(m string) {
					fmt.Fprintln(c.ErrOrStderr(), "waiting:", m)
				}})
			}, (*printer).waited)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait at most")
	c.Flags().StringSliceVar(&targets, "target", nil, "wait for this target alone; may be given several times (default: all)")
	return c
}
