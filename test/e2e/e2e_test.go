//go:build servers

// Package e2e_test shows that rows flow: from a real Milvus, through kitestream processes as users run them, to real
// Milvus, judged by an oracle that shares no code with them. One file is one story.
package e2e_test

import (
	"os"
	"testing"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"kitestream/test/rig"
	"kitestream/test/servers"
)

func TestMain(m *testing.M) {
	os.Exit(rig.Main(m, servers.RoleSource, servers.RoleTarget, servers.RoleTarget2, servers.RoleLite, servers.RoleSourcePulsar, servers.RoleSourceKafka))
}

// TestUp has one `kitestream up` do everything at once, each story in a task of its own. The longest come first.
func TestUp(t *testing.T) {
	r, p := rig.Up(t)
	t.Cleanup(func() { // after the stories, which are parallel
		if !r.Healthy(p) {
			t.Error("kitestream up has ended or is not well")
		}
	})
	for _, story := range []struct {
		name string
		tell func(*rig.Rig)
	}{
		{"one_target_is_down_for_a_while", targetDown},
		{"the_stream_is_full", streamFull},
		{"copied_verified_and_repaired", copied},
		{"main_flow", mainFlow},
		{"verified_while_it_is_written_to", verified},
		{"repaired_in_every_way", repaired},
		{"a_target_joins_and_leaves", joined},
		{"every_type_of_value", everyType},
		{"keys_that_the_source_gives_and_partition_keys", givenKeys},
		{"upserts_and_deletes_across_partitions", partitions},
		{"another_database", anotherDatabase},
		{"mapped_and_not_whole", mapped},
		{"set_before_there_is_a_task", setBefore},
		{"load_state_left_to_the_owner", loadLeft},
		{"settings_of_what_is_mapped", setMapped},
		{"copied_when_it_is_loaded", halfLoaded},
		{"waited_for", waitedFor},
		{"dropped_and_made_again_in_a_backlog", recreated},
		{"rewound", rewound},
		{"paused_and_resumed", pausedAndResumed},
		{"task_deleted_and_made_again", taskAgain},
		{"foreign_collection_on_the_target", foreignCollection},
		{"foreign_collection_dropped_and_task_resumed", foreignHealed},
		{"dropped_and_waited_for", dropWaited},
		{"loaded_again", loadedAgain},
		{"planned", planned},
		{"users_and_roles", users},
		{"selected_by_name_and_pattern", selected},
		{"command_line", commandLine},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			story.tell(r.For(t))
		})
	}
}

func field(name string, t entity.FieldType) *entity.Field {
	return entity.NewField().WithName(name).WithDataType(t)
}

// plain is a schema of three fields: id, n and vec.
func plain(name string) *entity.Schema {
	return entity.NewSchema().WithName(name).
		WithField(field("id", entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(field("n", entity.FieldTypeInt64)).
		WithField(field("vec", entity.FieldTypeFloatVector).WithDim(4))
}

// rows are rows of a plain collection with the keys from, …, to-1, whose values tell which version they are.
func rows(from, to, version int64) []entity.Column {
	var ids, ns []int64
	var vecs [][]float32
	for id := from; id < to; id++ {
		ids, ns = append(ids, id), append(ns, version)
		vecs = append(vecs, []float32{float32(id), float32(version), 0.1, -1})
	}
	return []entity.Column{entity.NewColumnInt64("id", ids), entity.NewColumnInt64("n", ns), entity.NewColumnFloatVector("vec", 4, vecs)}
}

// ids is a column of the keys from, …, to-1.
func ids(from, to int64) entity.Column { return rows(from, to, 0)[0] }
