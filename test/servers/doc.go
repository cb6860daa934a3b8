// Package servers runs the real servers that tests, benchmarks and the demo need, without containers: Milvus 2.3.5
// standalone from its PyPI wheel, with its embedded etcd and, as a source, its embedded NATS queue (natsmq); and, for a
// source on one of them, Pulsar 4.0.8 standalone and Kafka 3.9.1 by Maven. Milvus Lite 3.2.2, from PyPI too, is a target of
// the newer protocol.
//
// What flows in is a folder and a kind of queue; what flows out are addresses. Every port is on 127.0.0.1 but those of
// Milvus's internal components, which this version opens on all interfaces whatever its settings say. Linux on amd64
// only, as the wheel. The brokers need Java 17, and Maven to install them.
//
// Tests take the shared servers of their test binary with Source, Target and so on (see Main); a test that kills or
// stops a server starts one of its own with StartMilvus, StartLite, StartPulsar or StartKafka. The command in the folder milvus
// does the same for Makefiles and people.
package servers
