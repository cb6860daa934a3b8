package milvus

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
)

// version is what a target says that it is. The zero value is one that nothing is known of.
type version struct {
	text         string // in the target's own words
	lite         bool   // Milvus Lite, whose numbers are its own
	major, minor int
}

// String is the version for people.
func (v version) String() string {
	switch {
	case v.lite:
		return fmt.Sprintf("Milvus Lite %d.%d", v.major, v.minor)
	case v.known():
		return fmt.Sprintf("Milvus %d.%d", v.major, v.minor)
	}
	return fmt.Sprintf("of the unknown version %q", v.text)
}

// known reports whether the version's number could be read.
func (v version) known() bool { return v.major > 0 }

// before reports whether a Milvus is certainly older than the release.
func (v version) before(since release) bool {
	return v.known() && !v.lite && (v.major < since.major || v.major == since.major && v.minor < since.minor)
}

// Seen: "v2.3.5-lite" of a Milvus 2.3.5 (the wheel with everything inside, which is no Milvus Lite), and "milvus_lite-3.2.2".
// What stands before the number has to be a known name: a fork counts on its own.
var versionText = regexp.MustCompile(`^(v|milvus_lite-|)(\d{1,4})\.(\d{1,4})(\.|-|$)`)

func parseVersion(text string) version {
	v := version{text: text}
	m := versionText.FindStringSubmatch(text)
	if m == nil {
		return v
	}
	v.lite = m[1] == "milvus_lite-"
	v.major, _ = strconv.Atoi(m[2]) // the expression lets digits through only
	v.minor, _ = strconv.Atoi(m[3])
	return v
}

// version asks the target. One that doesn't know the question, or the user who asks, is of an unknown version.
func (t *Target) version(ctx context.Context) (version, error) {
	v, err := t.service.GetVersion(ctx, &milvuspb.GetVersionRequest{})
	if err := unless(check(v, err), CodeVersion, CodeForbidden); err != nil {
		return version{}, err
	}
	return parseVersion(v.GetVersion()), nil
}
