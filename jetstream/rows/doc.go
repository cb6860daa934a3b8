// Package rows holds the rows and keys of Milvus's insert and delete messages as columns, so that they can be cut,
// put together and sent on without ever looking at a value.
//
// Bytes flow in and bytes flow out. In come the protobuf messages of the source's queue and of Kitestream's own
// events: ParseInsert and ParseDelete read msgpb.InsertRequest and msgpb.DeleteRequest, Parse a list of
// schemapb.FieldData. Out go the same messages for a part of the rows (Take, Fit, Append), or the columns of many
// messages as one request to a target (Gather, AppendTo).
//
// A column is kept as it is encoded: the bytes of its rows one after another, and where each row ends. A vector is a
// run of bytes, and so is a string, a number or an array; choosing rows is copying runs. What is ever decoded
// is the primary key (Keys), whose hash decides on the lane, and scalar fields that somebody asks for (Values).
//
// What this version does not know, it refuses with an error that names the field: nothing is dropped in silence.
package rows
