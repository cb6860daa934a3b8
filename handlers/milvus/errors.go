package milvus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kitestream/handlers"
)

// The codes of a Milvus's errors, beside those of package handlers.
const (
	// CodeUnavailable: there is no connection, or a part of the target is down. Transient.
	CodeUnavailable = "KS-T-UNAVAILABLE"
	// CodeNotReady: the target is starting. Transient.
	CodeNotReady = "KS-T-NOTREADY"
	// CodeInternal: the target's queue, storage or one of its nodes failed. Transient.
	CodeInternal = "KS-T-INTERNAL"

	// CodeRateLimited: more requests or bytes in a second than the target allows. Limited.
	CodeRateLimited = "KS-L-RATE"
	// CodeDenied: the target takes no writes: its memory or disk quota is used up, or an administrator said so. Limited.
	CodeDenied = "KS-L-DENIED"

	// CodeUnauthenticated: the token is missing or wrong. Misconfigured.
	CodeUnauthenticated = "KS-M-AUTH"
	// CodeForbidden: the user lacks a privilege, which the text names. Misconfigured.
	CodeForbidden = "KS-M-FORBIDDEN"
	// CodeQuota: the target holds as many collections or databases as it may. Misconfigured.
	CodeQuota = "KS-M-QUOTA"
	// CodeVersion: the target's version doesn't know the call. Misconfigured.
	CodeVersion = "KS-M-VERSION"

	// CodeSchema: the collection's schema on the target is not that on the source; the text says what differs. Permanent.
	CodeSchema = "KS-P-SCHEMA"
	// CodeRefused: the target refuses the rows or names as invalid. Permanent.
	CodeRefused = "KS-P-REFUSED"
	// CodeNoDatabase: the database is not on the target. Permanent.
	CodeNoDatabase = "KS-P-NODATABASE"
	// CodeNoCollection: the collection is not on the target. Permanent.
	CodeNoCollection = "KS-P-NOCOLLECTION"
	// CodeNoPartition: the partition is not on the target. Permanent.
	CodeNoPartition = "KS-P-NOPARTITION"
	// CodeNoAlias: the alias is not on the target. Permanent.
	CodeNoAlias = "KS-P-NOALIAS"
	// CodeNoIndex: a collection can't be loaded, because a vector field has no index on the target. Permanent.
	CodeNoIndex = "KS-P-NOINDEX"
	// CodeNameTaken: the name is that of something else on the target, a collection or an alias. Permanent.
	CodeNameTaken = "KS-P-NAMETAKEN"
	// CodeReplicas: the target has fewer query nodes than replicas are wanted; it is loaded in as many as it has. Permanent.
	CodeReplicas = "KS-P-REPLICAS"
	// CodeUnsupported: the target's version can't hold a field or a setting. Permanent.
	CodeUnsupported = "KS-P-VERSION"
	// CodeNotAllowed: the user lacks the privilege for a setting. Permanent.
	CodeNotAllowed = "KS-P-FORBIDDEN"
)

// kind is how an answer is taken.
type kind struct {
	class handlers.Class
	code  string
}

// byStatus are the codes of commonpb.Status since Milvus 2.3 (pkg/util/merr). Those marked "seen" were provoked on a real 2.3.5.
// What is not here is Unclear: above all 65535, which 2.3 uses for whatever has no code yet, from a partition that is
// loaded (seen) to a coordinator that can't be found; and 1001, storage failed, which it uses for JSON that is no
// object, too (seen).
func byStatus(code int32) (kind, bool) {
	switch code {
	case 1: // service not ready
		return kind{handlers.Transient, CodeNotReady}, true
	case 2, 901, 902, 903, 904, 905: // service unavailable; node not found, offline, lacking, not matching, not available
		return kind{handlers.Transient, CodeUnavailable}, true
	case 5, 500, 501, 502, 503, 1302: // internal; channel lacking or not available; queue
		return kind{handlers.Transient, CodeInternal}, true
	case 10000, 10001: // cancelled, timed out
		return kind{handlers.Transient, handlers.CodeTimeout}, true
	case 4, 8: // too many requests; rate limit (seen)
		return kind{handlers.Limited, CodeRateLimited}, true
	case 3, 7, 9, 11, 12: // memory, disk, denied by force (seen), time tick delayed, resources
		return kind{handlers.Limited, CodeDenied}, true
	case 1400, 1800:
		return kind{handlers.Misconfigured, CodeUnauthenticated}, true
	case 1401:
		return kind{handlers.Misconfigured, CodeForbidden}, true
	case 102, 801: // too many collections (seen), databases (seen)
		return kind{handlers.Misconfigured, CodeQuota}, true
	case 10:
		return kind{handlers.Misconfigured, CodeVersion}, true
	case 100: // (seen)
		return kind{handlers.Permanent, CodeNoCollection}, true
	case 200: // (seen)
		return kind{handlers.Permanent, CodeNoPartition}, true
	case 700: // (seen)
		return kind{handlers.Permanent, CodeNoIndex}, true
	case 800: // (seen)
		return kind{handlers.Permanent, CodeNoDatabase}, true
	case 1600: // (seen)
		return kind{handlers.Permanent, CodeNoAlias}, true
	case 1601, 1602: // an alias and a collection of one name (seen), an alias of another collection (seen)
		return kind{handlers.Permanent, CodeNameTaken}, true
	case 6: // Milvus Lite's "illegal argument" (seen); a Milvus has no use for it
		return kind{handlers.Permanent, CodeRefused}, true
	case 1100, 1101, 1102, 1700, 1701, 1804: // parameter invalid (seen), missing, too large; field not found, name invalid; data
		return kind{handlers.Permanent, CodeRefused}, true
	}
	return kind{}, false
}

// byErrorCode are the older codes that Milvus before 2.3 answers with alone.
func byErrorCode(code commonpb.ErrorCode) (kind, bool) {
	switch code {
	case commonpb.ErrorCode_ConnectFailed, commonpb.ErrorCode_NotShardLeader, commonpb.ErrorCode_NoReplicaAvailable,
		commonpb.ErrorCode_NodeIDNotMatch, commonpb.ErrorCode_DataCoordNA:
		return kind{handlers.Transient, CodeUnavailable}, true
	case commonpb.ErrorCode_NotReadyServe, commonpb.ErrorCode_NotReadyCoordActivating:
		return kind{handlers.Transient, CodeNotReady}, true
	case commonpb.ErrorCode_MetaFailed, commonpb.ErrorCode_DDRequestRace:
		return kind{handlers.Transient, CodeInternal}, true
	case commonpb.ErrorCode_RateLimit:
		return kind{handlers.Limited, CodeRateLimited}, true
	case commonpb.ErrorCode_ForceDeny, commonpb.ErrorCode_MemoryQuotaExhausted, commonpb.ErrorCode_DiskQuotaExhausted,
		commonpb.ErrorCode_TimeTickLongDelay:
		return kind{handlers.Limited, CodeDenied}, true
	case commonpb.ErrorCode_PermissionDenied:
		return kind{handlers.Misconfigured, CodeForbidden}, true
	case commonpb.ErrorCode_CollectionNotExists, commonpb.ErrorCode_CollectionNameNotFound:
		return kind{handlers.Permanent, CodeNoCollection}, true
	case commonpb.ErrorCode_IndexNotExist:
		return kind{handlers.Permanent, CodeNoIndex}, true
	case commonpb.ErrorCode_IllegalArgument, commonpb.ErrorCode_IllegalDimension, commonpb.ErrorCode_IllegalRowRecord,
		commonpb.ErrorCode_IllegalCollectionName, commonpb.ErrorCode_UpsertAutoIDTrue:
		return kind{handlers.Permanent, CodeRefused}, true
	}
	return kind{}, false
}

// byGRPC are the codes of calls that never got an answer from Milvus's own code.
func byGRPC(s *status.Status) kind {
	switch s.Code() {
	case codes.Unavailable: // no connection (seen: refused, reset)
		return kind{handlers.Transient, CodeUnavailable}
	case codes.DeadlineExceeded, codes.Canceled: // (seen)
		return kind{handlers.Transient, handlers.CodeTimeout}
	case codes.Internal:
		if strings.Contains(s.Message(), "Marshal called with nil") { // gRPC's own words; how a 2.3.5 answers to AlterIndex (seen)
			return kind{handlers.Misconfigured, CodeVersion}
		}
		return kind{handlers.Transient, CodeInternal}
	case codes.Aborted, codes.DataLoss:
		return kind{handlers.Transient, CodeInternal}
	case codes.ResourceExhausted:
		if strings.Contains(s.Message(), "larger than max") { // gRPC's own words (seen); it has no code for it
			return kind{handlers.TooLarge, handlers.CodeRowTooLarge}
		}
		return kind{handlers.Limited, CodeRateLimited}
	case codes.Unauthenticated: // (seen)
		return kind{handlers.Misconfigured, CodeUnauthenticated}
	case codes.PermissionDenied: // (seen)
		return kind{handlers.Misconfigured, CodeForbidden}
	case codes.Unimplemented:
		return kind{handlers.Misconfigured, CodeVersion}
	}
	return kind{handlers.Unclear, handlers.CodeUnknown}
}

// answer is what every call answers with.
type answer interface{ GetStatus() *commonpb.Status }

// check turns an answer into an error. It returns nil only if Milvus said yes, both ways that it says so.
func check(a answer, err error) error { return checkStatus(a.GetStatus(), err) }

func checkStatus(s *commonpb.Status, err error) error {
	if err != nil {
		return classifyCall(err)
	}
	if s.GetCode() == 0 && s.GetErrorCode() == commonpb.ErrorCode_Success {
		return nil
	}
	text := fmt.Errorf("%s (code %d, %s)", s.GetReason(), s.GetCode(), s.GetErrorCode())
	k, ok := byStatus(s.GetCode())
	if s.GetCode() == 1 && s.GetErrorCode() != commonpb.ErrorCode_NotReadyServe && !s.GetRetriable() {
		// Milvus Lite answers 1 to whatever it has no code for, from a partition that is there already to an error in
		// itself (seen).
		k, ok = kind{handlers.Unclear, handlers.CodeUnknown}, true
	}
	if !ok {
		k, ok = byErrorCode(s.GetErrorCode())
	}
	switch {
	case ok:
	case s.GetRetriable():
		k = kind{handlers.Transient, CodeInternal}
	default:
		k = kind{handlers.Unclear, handlers.CodeUnknown}
	}
	return &handlers.Error{Class: k.class, Code: k.code, Err: text}
}

func classifyCall(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &handlers.Error{Class: handlers.Transient, Code: handlers.CodeTimeout, Err: err}
	}
	k := byGRPC(status.Convert(err))
	return &handlers.Error{Class: k.class, Code: k.code, Err: err}
}

// refuse is an error of this package's own that stops a collection.
func refuse(code, format string, args ...any) error {
	return &handlers.Error{Class: handlers.Permanent, Code: code, Err: fmt.Errorf(format, args...)}
}

// isCode reports whether the target answered with one of the codes.
func isCode(err error, of ...string) bool {
	var known *handlers.Error
	return errors.As(err, &known) && slices.Contains(of, known.Code)
}

// isUnclear reports whether the target's answer says too little.
func isUnclear(err error) bool {
	var known *handlers.Error
	return errors.As(err, &known) && known.Class == handlers.Unclear
}

// isRefusal reports whether the target answered no, rather than not or not now.
func isRefusal(err error) bool {
	var known *handlers.Error
	return errors.As(err, &known) && (known.Class == handlers.Permanent || known.Class == handlers.Unclear)
}

// setting is the error of a setting. Where anything else would wait for a person, because the target's version doesn't
// know the call or the user may not make it, nothing waits for a setting: it is Permanent. A token that is wrong is waited
// for, as it is whatever is called next.
func setting(err error, needs string) error {
	var known *handlers.Error
	switch {
	case !errors.As(err, &known):
		return err
	case known.Code == CodeVersion:
		return refuse(CodeUnsupported, "the target's version can't do this, which needs %s: %w", needs, known.Err)
	case known.Code == CodeForbidden:
		return refuse(CodeNotAllowed, "grant the target's user the privilege, then resume the task: %w", known.Err)
	}
	return err
}
