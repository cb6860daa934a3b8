package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"kitestream/functions/config"
	"kitestream/functions/control"
)

func newPromote() *cobra.Command {
	var r control.PromoteRequest
	var maxLag, verified, timeout time.Duration
	var reverse string
	c := &cobra.Command{
		Use: "promote TASK --target TARGET", Short: "Switch over from a task's source to one of its targets",
		Long: "Switch over from a task's source to one of its targets. Stop the clients that write to the source first. It looks\n" +
			"whether the target is ready (its lag, the last comparison with its source, nothing stopped), waits until everything\n" +
			"that was written is applied, stops the task for good, makes sure that nothing was written meanwhile, and says what is\n" +
			"left to do: to point clients to the target. When it does not come to an end in its time, all is as it was before.\n\n" +
			"With --reverse it makes a task in the other direction from a task file, which begins with the first change after that,\n" +
			"so that the old source follows. With --force whatever is in the way does not stop it, and it says what is lost.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			r.Name, r.MaxLagMS, r.VerifiedWithinMS, r.TimeoutMS = args[0], maxLag.Milliseconds(), verified.Milliseconds(), timeout.Milliseconds()
			if r.Undo {
				r.MaxLagMS, r.VerifiedWithinMS, r.TimeoutMS = 0, 0, 0
			} else if r.Target == "" {
				return errors.New("say which target is to be promoted: --target TARGET")
			}
			if reverse != "" {
				spec, err := readTask(reverse, c.InOrStdin())
				if err != nil {
					return err
				}
				r.Reverse = &spec
			}
			return promoteTask(c, r)
		},
	}
	c.Flags().StringVar(&r.Target, "target", "", "the target that clients are to use from now on")
	c.Flags().DurationVar(&maxLag, "max-lag", 10*time.Second, "refuse a target that is further behind")
	c.Flags().DurationVar(&verified, "verified-within", 24*time.Hour, "refuse a target that was not found equal since")
	c.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "when it is not done by then, all is as it was before")
	c.Flags().StringVar(&reverse, "reverse", "", "a task file: the task in the other direction, which begins exactly where this one ends")
	c.Flags().BoolVar(&r.Force, "force", false, "whatever is in the way, also if changes are lost; it says how many")
	c.Flags().BoolVar(&r.DryRun, "dry-run", false, "change nothing; print what is in the way and what would be lost. Ends with 1 if anything is")
	c.Flags().BoolVar(&r.Undo, "undo", false, "take back the promotion that there was: the task goes on")
	c.Flags().VarP(new(format), "output", "o", "what to print: table, or json with all there is to know")
	return withSettings(c, config.Client)
}

func promoteTask(c *cobra.Command, r control.PromoteRequest) error {
	var inWay int
	notice := changes(c.ErrOrStderr(), "promoting:")
	err := ask(c, func(client *control.Client) (*control.PromoteAnswer, error) {
		a, err := client.Promote(c.Context(), r, notice)
		if err == nil && r.DryRun {
			inWay = len(a.InWay)
		}
		return a, err
	}, (*printer).promoted)
	if err == nil && inWay > 0 {
		return &outcome{exitFailed}
	}
	return err
}

// changes writes notices that are not the same as the one before.
func changes(w io.Writer, what string) func(string) {
	last := ""
	return func(text string) {
		if text != last {
			last = text
			fmt.Fprintln(w, what, text)
		}
	}
}

func (p *printer) promoted(a *control.PromoteAnswer) {
	switch {
	case a.Done:
		p.line("task %s: target %s is promoted (%.1fs)", a.Task.Name, a.Target, a.Seconds)
	case a.URI == "":
		p.line("task %s: the promotion of target %s is undone, the task goes on", a.Task.Name, a.Target)
	case len(a.InWay) == 0:
		p.line("task %s: target %s is ready to be promoted", a.Task.Name, a.Target)
	default:
		p.line("task %s: target %s is not ready to be promoted", a.Task.Name, a.Target)
	}
	for _, problem := range a.InWay {
		p.line("in the way: %s: %s", problem.Field, problem.Message)
	}
	if a.Loss != nil {
		p.line("lost: %s", a.Loss)
	}
	for _, left := range a.Left {
		p.line("left to do: %s", left)
	}
}
