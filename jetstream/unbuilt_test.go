package jetstream_test

import (
	"errors"
	"testing"

	"kitestream/jetstream"
)

func TestTaskRefusesWhatNothingActsOn(t *testing.T) {
	for field, spec := range map[string]jetstream.TaskSpec{
		"rbac": {RBAC: true},
	} {
		var e *jetstream.FieldError
		spec.Name, spec.Select = "t", []jetstream.Selection{{Database: "default", Collections: []string{"*"}}}
		spec.Targets = []jetstream.TargetSpec{{Name: "a", URI: "localhost:1"}}
		if err := spec.WithDefaults().Validate(); !errors.As(err, &e) || e.Field != field {
			t.Errorf("%s: Validate = %v", field, err)
		}
	}
}
