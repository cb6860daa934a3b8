package handlers

import (
	"context"
	"errors"

	"kitestream/jetstream/rows"
)

// rowRef is row Row of part Part of an upsertion.
type rowRef struct{ part, row int32 }

// upsert sends the rows refs of an upsertion, in calls as large as the target takes.
func (h *Handlers) upsert(ctx context.Context, ref Ref, u upsertion, refs []rowRef) error {
	return h.inParts(ctx, len(refs), func(ctx context.Context, from, to int) (int, error) {
		chosen, err := h.gather(u.parts, refs[from:to])
		if err != nil {
			return 0, permanent(CodeEvent, err)
		}
		return chosen.Len(), h.once(ctx, job{op: opUpsert, name: ref.String(), rows: chosen.Len()}, func(ctx context.Context) error {
			return h.target.Upsert(ctx, ref, u.partition, chosen)
		})
	})
}

// remove sends deletes of the keys, in calls as large as the target takes.
func (h *Handlers) remove(ctx context.Context, ref Ref, partition string, keys rows.Keys) error {
	return h.inParts(ctx, keys.Len(), func(ctx context.Context, from, to int) (int, error) {
		part := slice(keys, from, to)
		return to - from, h.once(ctx, job{op: opDelete, name: ref.String(), rows: to - from}, func(ctx context.Context) error {
			return h.target.Delete(ctx, ref, partition, part)
		})
	})
}

// partCall makes a call about rows from…to, or fewer, and says how many it was about.
type partCall func(ctx context.Context, from, to int) (int, error)

// inParts makes calls until n rows are through. One that times out is made again with half as many rows, and so is one
// that is too large.
func (h *Handlers) inParts(ctx context.Context, n int, call partCall) error {
	p := h.patient(h.o.Patience)
	most := n
	for from := 0; from < n; {
		done, err := call(ctx, from, from+min(n-from, most, h.pace.now()))
		known := &Error{}
		errors.As(err, &known)
		switch {
		case err == nil:
			p.settle(true)
			h.pace.faster(done)
			from += done
			continue
		case known.Class == TooLarge && done > 1:
			most = done / 2
			continue
		case known.Class == TooLarge:
			err = permanent(CodeRowTooLarge, known.Err)
		case known.Code == CodeTimeout:
			h.pace.slower(done)
		}
		if err := p.verdict(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// gather puts the rows together. Parts that differ in their fields, as rows do that were written before and after a
// change of schema, can't be in one call: then it is as many as can, from the first.
func (h *Handlers) gather(parts []rows.Part, refs []rowRef) (*rows.Rows, error) {
	chosen := pick(parts, refs)
	if p := chosen[0]; len(chosen) == 1 && len(p.Index) == p.Rows.Len() {
		return p.Rows, nil // all of them, in order
	}
	r, err := rows.Gather(chosen)
	if errors.Is(err, rows.ErrFields) {
		return chosen[0].Rows.Take(chosen[0].Index), nil
	}
	return r, err
}

// pick makes parts of the rows, which are ordered by part.
func pick(parts []rows.Part, refs []rowRef) []rows.Part {
	var out []rows.Part
	for i, r := range refs {
		if i == 0 || refs[i-1].part != r.part {
			out = append(out, rows.Part{Rows: parts[r.part].Rows})
		}
		p := &out[len(out)-1]
		p.Index = append(p.Index, int(r.row))
	}
	return out
}

// cut divides the rows of an upsertion into runs that are each fit for one call.
func (h *Handlers) cut(u upsertion) [][]rowRef {
	var out [][]rowRef
	var run []rowRef
	size := 0
	for p, part := range u.parts {
		for _, i := range part.Index {
			b := part.Rows.RowBytes(i)
			if len(run) > 0 && (len(run) == h.o.MaxRows || size+b > h.o.MaxBytes) {
				out, run, size = append(out, run), nil, 0
			}
			run, size = append(run, rowRef{int32(p), int32(i)}), size+b
		}
	}
	if len(run) > 0 {
		out = append(out, run)
	}
	return out
}

// keyBytes is about what an integer key adds to the text of a delete.
const keyBytes = 20

// cutKeys divides keys into runs that are each fit for one call.
func (o Options) cutKeys(keys rows.Keys) []rows.Keys {
	var out []rows.Keys
	from, size := 0, 0
	for i := range keys.Len() {
		b := keyBytes
		if keys.Strings != nil {
			b += len(keys.Strings[i])
		}
		if i > from && (i-from == o.MaxRows || size+b > o.MaxBytes) {
			out = append(out, slice(keys, from, i))
			from, size = i, 0
		}
		size += b
	}
	if from < keys.Len() {
		out = append(out, slice(keys, from, keys.Len()))
	}
	return out
}

func slice(k rows.Keys, from, to int) rows.Keys {
	if k.Strings != nil {
		return rows.Keys{Strings: k.Strings[from:to]}
	}
	return rows.Keys{Ints: k.Ints[from:to]}
}
