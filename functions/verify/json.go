package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// sameJSON reports whether two texts of JSON have the same value: the order of an object's keys, spaces and how a number is
// written mean nothing. No text is the same as an object of nothing: both stand for a row without dynamic fields.
func sameJSON(a, b []byte) bool {
	x, xok := parseJSON(a)
	y, yok := parseJSON(b)
	return xok && yok && sameValue(x, y)
}

func parseJSON(text []byte) (any, bool) {
	if len(text) == 0 {
		return map[string]any{}, true
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, errors.Is(err, io.EOF)
}

func sameValue(a, b any) bool {
	switch x := a.(type) {
	case json.Number:
		y, ok := b.(json.Number)
		return ok && sameNumber(x.String(), y.String())
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !sameValue(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k := range x {
			other, ok := y[k]
			if !ok || !sameValue(x[k], other) {
				return false
			}
		}
		return true
	}
	return a == b
}

// sameNumber compares whole numbers as such, and others as a double has them.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	i, ierr := strconv.ParseInt(a, 10, 64)
	j, jerr := strconv.ParseInt(b, 10, 64)
	if ierr == nil && jerr == nil {
		return i == j
	}
	x, xerr := strconv.ParseFloat(a, 64)
	y, yerr := strconv.ParseFloat(b, 64)
	return xerr == nil && yerr == nil && x == y
}
