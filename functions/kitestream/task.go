package main

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"kitestream/functions/config"
	"kitestream/functions/control"
	"kitestream/functions/process"
)

func newTask() *cobra.Command {
	task := &cobra.Command{
		Use: "task", Short: "Make, show and change tasks",
		Long: "Make, show and change tasks, by asking a control process over NATS.",
		Args: cobra.NoArgs, RunE: needVerb,
	}
	task.PersistentFlags().VarP(new(format), "output", "o", "what to print: table, or json with all there is to know")
	task.AddCommand(newCreate(), newList(), newGet(), newPause(), newResume(), newDelete(), newPosition(), newWait(), newResnapshot(), newRewind(), newAddTarget(), newRemoveTarget())
	return withSettings(task, config.Client)
}

// ask does what a task verb is for: it connects, asks, and prints the answer as the user wants it. All that ask does is
// a failure where it goes wrong; flags and files are checked before.
func ask[A any](c *cobra.Command, question func(*control.Client) (A, error), table func(*printer, A)) error {
	cfg, err := settings(config.Client)
	if err != nil {
		return err
	}
	return failed(connected(cfg, func(nc *nats.Conn) error {
		answer, err := question(control.NewClient(nc))
		if err != nil {
			return err
		}
		p := newPrinter(c.OutOrStdout())
		if c.Flag("output").Value.String() == "json" {
			return p.json(answer)
		}
		table(p, answer)
		return p.flush()
	}))
}

func connected(cfg config.Config, fn func(*nats.Conn) error) error {
	url := cfg.NATSURL
	if url == "" {
		url = process.DefaultURL
	}
	nc, err := process.Dial(url, cfg.NATSCreds)
	if err != nil {
		return &control.Error{Code: control.CodeNoControl, Message: fmt.Sprintf("%v", err), Do: control.CodeNoControl.Do()}
	}
	defer nc.Close()
	return fn(nc)
}
