package control

import (
	"errors"
	"fmt"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"

	"kitestream/handlers/rules"
	"kitestream/jetstream"
)

// What is wrong with a task's mapping or rules is found when the task is created, as far as the source's collections show it by
// then. Each error is a *jetstream.FieldError.

// checkSpec checks a spec by itself, its expressions included.
func checkSpec(spec jetstream.TaskSpec) error {
	errs := []error{spec.Validate()}
	for i, r := range spec.Rules {
		if _, err := rules.Parse(r); err != nil {
			errs = append(errs, ofRule(i, err)...)
		}
	}
	return errors.Join(errs...)
}

// checkPlaces refuses collections of the source that would land on one of the targets.
func checkPlaces(spec jetstream.TaskSpec, names []jetstream.QualifiedName) error {
	var errs []error
	for _, c := range spec.Conflicts(names) {
		errs = append(errs, &jetstream.FieldError{
			Field:   fmt.Sprintf("map[%d]", c.Mapping),
			Message: fmt.Sprintf("%s and %s would both land on %s", c.First, c.Second, c.Place),
		})
	}
	return errors.Join(errs...)
}

// checkRules compares the rules with the schemas of collections that the task selects, which are as their source would make
// them again.
func checkRules(spec jetstream.TaskSpec, collections []*milvuspb.CreateCollectionRequest) error {
	var errs []error
	for _, req := range collections {
		name := jetstream.QualifiedName{Database: req.GetDbName(), Collection: req.GetCollectionName()}
		r := spec.RuleFor(name)
		if r == nil {
			continue
		}
		ready, err := rules.Parse(*r)
		if err != nil {
			continue // for checkSpec
		}
		schema := &schemapb.CollectionSchema{}
		if err := proto.Unmarshal(req.GetSchema(), schema); err != nil {
			return fmt.Errorf("read the schema of %s: %w", name, err)
		}
		for i := range spec.Rules {
			if &spec.Rules[i] != r {
				continue
			}
			for _, err := range ofRule(i, ready.Fits(schema)) {
				errs = append(errs, about(err, name))
			}
		}
	}
	return errors.Join(errs...)
}

// ofRule are the field errors in err, which are relative to the rule, as those of the spec.
func ofRule(i int, err error) []error {
	if err == nil {
		return nil
	}
	var problems []Problem
	collect(err, &problems)
	out := make([]error, len(problems))
	for k, p := range problems {
		out[k] = &jetstream.FieldError{Field: fmt.Sprintf("rules[%d].%s", i, p.Field), Message: p.Message}
	}
	return out
}

// about says of which collection a field error was found.
func about(err error, name jetstream.QualifiedName) error {
	var f *jetstream.FieldError
	if !errors.As(err, &f) {
		return err
	}
	return &jetstream.FieldError{Field: f.Field, Message: f.Message + " (" + name.String() + ")"}
}
