package scan

import (
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"
	"google.golang.org/protobuf/proto"
)

const (
	pageBytes = 4 << 20 // what a page is to be like
	firstRows = 256     // how many rows a first page has where the schema doesn't tell how large they are
)

// half of the window is how many rows may be asked for at most, so that the window is never what limits an answer.
func (col *Collection) half() int { return int(col.window.Load() / 2) }

// narrowWindow takes note that the source's window is less than was thought. It is false if that can't be.
func (col *Collection) narrowWindow() bool {
	w := col.window.Load()
	if w < 4 {
		return false
	}
	col.window.CompareAndSwap(w, w/2)
	return true
}

// pageRows is how many rows a page is to have.
func (col *Collection) pageRows(p Page) int {
	n := col.half()
	if !p.KeysOnly {
		n = min(n, int(pageBytes/col.rowBytes.Load()))
	}
	if p.Limit > 0 {
		n = min(n, p.Limit)
	}
	return max(1, n)
}

// learn takes note of how large rows are. The estimate rises at once and falls slowly.
func (col *Collection) learn(r *Rows) {
	if r.N == 0 {
		return
	}
	size := 0
	for _, f := range r.Fields {
		size += proto.Size(f)
	}
	is, was := int64(size/r.N+1), col.rowBytes.Load()
	if is < was {
		is = (is + was) / 2
	}
	col.rowBytes.Store(is)
}

// grow takes note that so many rows are too large for the source to answer with.
func (col *Collection) grow(rows int) {
	col.rowBytes.Store(int64(2*pageBytes/rows + 1))
}

// guessRow is how large a row may be, before any was read.
func guessRow(fields []*schemapb.FieldSchema) int {
	size, known := 1, true
	for _, f := range fields {
		switch t := f.GetDataType(); t {
		case schemapb.DataType_FloatVector:
			size += 4 * dim(f)
		case schemapb.DataType_Float16Vector, schemapb.DataType_BFloat16Vector:
			size += 2 * dim(f)
		case schemapb.DataType_Int8Vector:
			size += dim(f)
		case schemapb.DataType_BinaryVector:
			size += dim(f) / 8
		case schemapb.DataType_VarChar, schemapb.DataType_String, schemapb.DataType_JSON, schemapb.DataType_Array,
			schemapb.DataType_SparseFloatVector, schemapb.DataType_Geometry:
			known = false
		default:
			size += 8
		}
	}
	if !known {
		size = max(size, pageBytes/firstRows)
	}
	return size
}

// dim is a vector field's dimension, 0 if it has none.
func dim(f *schemapb.FieldSchema) int {
	for _, p := range f.GetTypeParams() {
		if p.GetKey() == "dim" {
			n, _ := strconv.Atoi(p.GetValue()) // what is no number is 0
			return n
		}
	}
	return 0
}
