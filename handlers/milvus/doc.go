// Package milvus is the target that is a Milvus: it implements handlers.Target by ordinary client calls, so that the
// target stays an ordinary Milvus (guarantee 7).
//
// In come rows as columns of bytes and requests of the source; out go gRPC calls of Milvus's own service, through the
// raw client of milvus-sdk-go. Rows are put into a request as they were encoded on the source: no value is decoded.
//
// Answers are classified in one file, errors.go, which documents the code of each error.
package milvus
