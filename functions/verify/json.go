package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
)

// canonical is a text of JSON without what means nothing: spaces, the order of an object's keys, and how a number is written. No
// text is as an object of nothing: both stand for a row without dynamic fields. What is no JSON stays as it is.
func canonical(text []byte) []byte {
	if len(text) == 0 {
		return []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return text
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return text
	}
	out, err := json.Marshal(numbers(v)) // which sorts keys
	if err != nil {
		return text
	}
	return out
}

// numbers has each number in a JSON's value written in one way, in place.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return number(v)
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// number writes a whole number as such, and another as a double has it.
func number(n json.Number) json.Number {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return json.Number(strconv.FormatInt(i, 10))
	}
	f, err := n.Float64()
	const exact = 1 << 53 // whole numbers below have one double each
	switch {
	case err != nil:
		return n
	case f == math.Trunc(f) && math.Abs(f) < exact:
		return json.Number(strconv.FormatInt(int64(f), 10))
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}
