package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"kitestream/functions/control"
	"kitestream/jetstream"
)

func newAddTarget() *cobra.Command {
	var spec jetstream.TargetSpec
	c := &cobra.Command{
		Use: "add-target NAME --target NAME --uri URI", Short: "Have another target join a task",
		Long: "Have another target join a running task. It is told alone what the others have been told: collections, partitions, indexes,\n" +
			"aliases, loads, users. Existing rows are copied to it alone, while it follows what changes. A target that can't hold the\n" +
			"collections is refused. Returns when the copy has begun; 'task get' shows how far it is, and 'task wait' waits for its end.",
		Example: "  kitestream task add-target orders --target standby2 --uri http://127.0.0.1:19730 --token-env STANDBY2_TOKEN",
		Args:    oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, func(client *control.Client) (*control.TargetAnswer, error) {
				return client.AddTarget(c.Context(), control.AddTargetRequest{Name: args[0], Target: spec})
			}, func(p *printer, a *control.TargetAnswer) {
				p.joined(a, fmt.Sprintf("target %s added to task %s", spec.Name, a.Task.Name))
			})
		},
	}
	f := c.Flags()
	f.StringVar(&spec.Name, "target", "", "its name within the task")
	f.StringVar(&spec.URI, "uri", "", "where its proxy listens")
	f.StringVar(&spec.TokenEnv, "token-env", "", "the environment variable of the workers that holds its token")
	f.StringVar(&spec.TokenFile, "token-file", "", "the file on the workers that holds its token")
	f.StringVar(&spec.UsersFile, "users-file", "", "the file on the workers that holds passwords of users that are made there, for a task with rbac")
	_, _ = c.MarkFlagRequired("target"), c.MarkFlagRequired("uri") // the flags are there
	return c
}

func newRemoveTarget() *cobra.Command {
	var target string
	c := &cobra.Command{
		Use: "remove-target NAME --target NAME", Short: "Have a target leave a task",
		Long: "Have a target leave a task, which goes on for the others. What the target holds stays there. Returns when nothing is written\n" +
			"to it any more.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			return ask(c, func(client *control.Client) (*control.TargetAnswer, error) {
				return client.RemoveTarget(c.Context(), control.RemoveTargetRequest{Name: args[0], Target: target})
			}, func(p *printer, a *control.TargetAnswer) {
				p.joined(a, fmt.Sprintf("target %s removed from task %s", target, a.Task.Name))
			})
		},
	}
	c.Flags().StringVar(&target, "target", "", "its name within the task")
	_ = c.MarkFlagRequired("target") // the flag is there
	return c
}

// joined prints what became of a task's targets.
func (p *printer) joined(a *control.TargetAnswer, what string) {
	p.line("%s", what)
	if a.Note != "" {
		p.line("note: %s", a.Note)
	}
}
