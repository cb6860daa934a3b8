package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"kitestream/functions/control"
	"kitestream/jetstream"
)

func newCreate() *cobra.Command {
	var file string
	var dryRun bool
	c := &cobra.Command{
		Use: "create -f FILE", Short: "Make a task from a file",
		Long: "Make a task from a YAML or JSON file ('-': standard input) and print which collections it selects now.",
		Example: "  name: orders\n" +
			"  source: default\n" +
			"  select:\n" +
			"    - {database: default, collections: [\"*\"], exclude: [\"tmp_*\"]}\n" +
			"  lanes: 4\n" +
			"  targets:\n" +
			"    - {name: standby, uri: \"http://127.0.0.1:19630\", token_env: STANDBY_TOKEN}",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			spec, err := readTask(file, c.InOrStdin())
			if err != nil {
				return err
			}
			if dryRun {
				return planTask(c, spec)
			}
			return ask(c, func(client *control.Client) (*control.CreateAnswer, error) { return client.Create(c.Context(), spec) }, (*printer).created)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the task file; '-' is standard input")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "make nothing; print what would be made on each target, what can't be, and why")
	return c
}

// planTask prints what the task would do. A task that would be refused is an error.
func planTask(c *cobra.Command, spec jetstream.TaskSpec) error {
	var problems int
	err := ask(c, func(client *control.Client) (*control.PlanAnswer, error) {
		a, err := client.Plan(c.Context(), spec)
		if err == nil {
			problems = len(a.Problems)
		}
		return a, err
	}, (*printer).planned)
	if err == nil && problems > 0 {
		return fmt.Errorf("task %s would be refused: %d problems", spec.Name, problems)
	}
	return err
}

// readTask reads a task file and checks it, so that what is wrong with it is told before anything is asked.
func readTask(file string, in io.Reader) (jetstream.TaskSpec, error) {
	var raw []byte
	var err error
	switch file {
	case "":
		return jetstream.TaskSpec{}, errors.New("give a task file: -f FILE")
	case "-":
		raw, err = io.ReadAll(in)
	default:
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return jetstream.TaskSpec{}, fmt.Errorf("read task file: %w", err)
	}
	spec, err := jetstream.ParseTask(raw)
	if err == nil {
		err = spec.Validate()
	}
	if err != nil {
		return spec, fmt.Errorf("task file %s:\n%s", file, indent(err))
	}
	return spec, nil
}
