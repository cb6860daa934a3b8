package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kitestream/functions/config"
	"kitestream/functions/control"
	"kitestream/functions/verify"
)

func newVerify() *cobra.Command {
	var r control.VerifyRequest
	var repair, dryRun bool
	c := &cobra.Command{
		Use: "verify TASK", Short: "Compare targets with their source, and repair what differs",
		Long: "Compare targets with their source, while both are in use: schema, partitions, indexes, aliases, numbers of rows, then\n" +
			"every row, bit for bit. What is on its way is looked at again before it counts. A worker with\n" +
			"KITESTREAM_SOURCE_MILVUS_URI does it. How far it is is told on standard error.\n\n" +
			"Exit codes: 0 equal, 1 different, 2 usage, 3 could not tell.",
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			if dryRun && !repair {
				return errors.New("--dry-run is for --repair")
			}
			r.Name, r.Repair = args[0], repair && !dryRun
			if r.Sample > 0 && r.Seed == 0 {
				r.Seed = rand.Uint64()
			}
			return verifyTask(c, r, repair && dryRun)
		},
	}
	c.Flags().StringSliceVar(&r.Targets, "target", nil, "compare this target alone; may be given several times (default: all)")
	c.Flags().StringSliceVar(&r.Collections, "collection", nil, "compare this collection of the source alone, DATABASE.COLLECTION; may be given several times")
	c.Flags().Var((*percent)(&r.Sample), "sample", "compare about this share of the rows, in ranges of keys chosen at random")
	c.Flags().Uint64Var(&r.Seed, "seed", 0, "choose the same ranges as a sample with this seed did (default: by chance)")
	c.Flags().IntVar(&r.Search, "search", 0, "search for so many vectors of each field on both sides, and tell how alike the results are")
	c.Flags().BoolVar(&repair, "repair", false, "rewrite on the target what differs, from the source")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "with --repair: change nothing, print what would be rewritten")
	c.Flags().VarP(new(format), "output", "o", "what to print: table, or json with all there is to know")
	return withSettings(c, config.Client)
}

// verifyTask verifies, prints the reports, and ends with the verdict's code.
func verifyTask(c *cobra.Command, r control.VerifyRequest, dryRun bool) error {
	verdict := verify.Unknown
	notice := noticer(c.ErrOrStderr())
	err := ask(c, func(client *control.Client) (*control.VerifyAnswer, error) {
		a, err := client.Verify(c.Context(), r, notice)
		if err != nil {
			return nil, err
		}
		verdict = a.Verdict
		for _, report := range a.Reports {
			report.DryRun = dryRun
		}
		return a, nil
	}, (*printer).verified)
	var tried *failure
	switch {
	case errors.As(err, &tried):
		tried.code = exitUnknown
		return tried
	case err != nil:
		return err
	}
	switch verdict {
	case verify.Equal:
		return nil
	case verify.Different:
		return &outcome{exitDifferent}
	}
	return &outcome{exitUnknown}
}

// noticeEvery is how often people are told how far a verification is.
const noticeEvery = 5 * time.Second

// noticer writes notices, not too many.
func noticer(w io.Writer) func(string) {
	last := time.Now()
	return func(text string) {
		if time.Since(last) >= noticeEvery {
			last = time.Now()
			fmt.Fprintln(w, "verifying:", text)
		}
	}
}

// percent is a flag's value such as 1%.
type percent float64

// String is part of pflag.Value.
func (p *percent) String() string {
	if *p == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*p), 'g', -1, 64) + "%"
}

// Set is part of pflag.Value.
func (p *percent) Set(s string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(v > 0 && v <= 100) || !strings.HasSuffix(s, "%") {
		return errors.New("want a share such as 1% or 0.5%")
	}
	*p = percent(v)
	return nil
}

// Type is part of pflag.Value.
func (p *percent) Type() string { return "percent" }
