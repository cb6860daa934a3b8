package rows

import "errors"

var (
	// ErrMalformed marks bytes that no Milvus could have written, or a message whose parts disagree about the number
	// of its rows.
	ErrMalformed = errors.New("malformed")
	// ErrUnsupported marks a message that may be right, but holds something that this version does not know and so
	// would lose: another kind of data, another field of the message, or rows that are no columns.
	ErrUnsupported = errors.New("not supported by this version")
	// ErrFields says that rows lack a field, or that rows to be put together don't have the same fields. Rows from
	// before and after a change of the collection's schema have to be applied one after the other.
	ErrFields = errors.New("fields do not match")
)
