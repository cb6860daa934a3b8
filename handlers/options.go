package handlers

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"kitestream/jetstream"
)

// Options say how a target is written to. The zero value of every field means its default.
type Options struct {
	// Task and Target are labels of metrics and keys of logs.
	Task, Target string

	// Spec is the task's, of which Map and Rules are applied, and the users_file of Target read. Default: names stay, and
	// everything is applied.
	Spec jetstream.TaskSpec

	// Secret opens the passwords on the stream. Default: none are there that matter.
	Secret *jetstream.SecretKey

	// MaxRows is how many rows or keys one call carries at most. Default 5,000. Larger calls gain little and time out
	// sooner.
	MaxRows int
	// MaxBytes is how many bytes of rows one call carries at most. Default 16 MiB. Milvus refuses more than 64 MiB.
	MaxBytes int
	// Concurrency is how many calls are under way at once, for all Apply calls together. Default 4.
	Concurrency int

	// CallTimeout is the longest that one call may take. Default 30 s. A call that times out may have taken effect;
	// it is made again, with half as many rows.
	CallTimeout time.Duration
	// Until is the moment that the worker's leases allow writing to. No call's deadline is later (guarantee 4), and when
	// it has passed Apply ends with jetstream.ErrFenced. Default: no limit.
	Until func() time.Time

	// MinBackoff and MaxBackoff are the first and the longest wait after a transient error. Defaults 100 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration
	// SlowBackoff is the wait after an error that needs a person. Default 10 s.
	SlowBackoff time.Duration
	// Patience is how long an error that says too little is taken to be one that passes, before its collection stops.
	// Default 1 min. Everything else in the batch waits as long.
	Patience time.Duration
	// SettingPatience is the same for what no row depends on: settings and flushes. Default 10 s, as a wrong guess costs less:
	// the setting is Unmet and can be tried again, while waiting holds up rows. What surely passes, as a target that
	// starts, is waited for all the same.
	SettingPatience time.Duration

	// OnWait is told of each error that Apply waits for to pass, and since when it has been waiting: for status. It
	// must not block. OnResume is told when no call waits any more.
	OnWait   func(err *Error, since time.Time)
	OnResume func()

	// Metrics count what is applied. Default: none are kept.
	Metrics *Metrics
	// Log gets changes of state. Default: nothing is logged.
	Log *slog.Logger
}

// withDefaults fills what is zero.
func (o Options) withDefaults() Options {
	o.MaxRows = or(o.MaxRows, 5000)
	o.MaxBytes = or(o.MaxBytes, 16<<20)
	o.Concurrency = or(o.Concurrency, 4)
	o.CallTimeout = or(o.CallTimeout, 30*time.Second)
	o.MinBackoff = or(o.MinBackoff, 100*time.Millisecond)
	o.MaxBackoff = or(o.MaxBackoff, 5*time.Second)
	o.SlowBackoff = or(o.SlowBackoff, 10*time.Second)
	o.Patience = or(o.Patience, time.Minute)
	o.SettingPatience = or(o.SettingPatience, 10*time.Second)
	if o.OnWait == nil {
		o.OnWait = func(*Error, time.Time) {}
	}
	if o.OnResume == nil {
		o.OnResume = func() {}
	}
	if o.Metrics == nil {
		o.Metrics = newMetrics()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Validate joins everything that is wrong with the options.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.MaxRows >= 1, "max rows %d is less than 1", o.MaxRows)
	check(o.MaxBytes >= 1, "max bytes %d is less than 1", o.MaxBytes)
	check(o.MaxBytes <= 64<<20, "max bytes %d is more than the 64 MiB that Milvus accepts", o.MaxBytes)
	check(o.Concurrency >= 1, "concurrency %d is less than 1", o.Concurrency)
	check(o.CallTimeout > 0, "call timeout %s is not positive", o.CallTimeout)
	check(o.MinBackoff > 0, "min backoff %s is not positive", o.MinBackoff)
	check(o.MaxBackoff >= o.MinBackoff, "max backoff %s is less than min backoff %s", o.MaxBackoff, o.MinBackoff)
	check(o.SlowBackoff > 0, "slow backoff %s is not positive", o.SlowBackoff)
	check(o.Patience > 0, "patience %s is not positive", o.Patience)
	check(o.SettingPatience > 0, "setting patience %s is not positive", o.SettingPatience)
	return errors.Join(errs...)
}
