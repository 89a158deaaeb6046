package export

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/noctua-screening/noctua/pkg/blob"
	"github.com/noctua-screening/noctua/pkg/fault"
)

// keys is a bucket that can be listed: keys and their times.
type keys struct {
	storage
	at   map[string]time.Time
	fail string // listing below this prefix breaks off
}

func (k keys) Buckets() blob.Buckets { return blob.BucketsOf("") }

func (k keys) List(_ context.Context, _, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if k.fail != "" && strings.HasPrefix(prefix, k.fail) {
			yield(blob.Info{}, fault.New(fault.Transient, "storage-unavailable", "on purpose"))
			return
		}
		for _, key := range slices.Sorted(maps.Keys(k.at)) {
			if strings.HasPrefix(key, prefix) && !yield(blob.Info{Key: key, LastModified: k.at[key]}, nil) {
				return
			}
		}
	}
}

// TestSurvey compares the walk through two listings with what maps say, for buckets of all kinds.
func TestSurvey(t *testing.T) {
	t.Parallel()
	const model = "abcdefabcdef0000"
	random := rand.New(rand.NewPCG(5, 18))
	base := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for range 300 {
		bucket := keys{at: map[string]time.Time{}}
		want, total := map[string]state{}, counts{}
		since, until := base.Add(2*time.Minute), time.Time{}
		if random.IntN(2) == 0 {
			until = base.Add(7 * time.Minute)
		}
		for range random.IntN(40) {
			// Instances whose UIDs are prefixes of each other sort otherwise as folders than as keys.
			folder := fmt.Sprintf("images/1.2%s/%016x/%s/", []string{"", ".3", ".3.4", "0", "1.2"}[random.IntN(5)], random.IntN(3), []string{model[:12], "0123456789ab"}[random.IntN(2)])
			at := base.Add(time.Duration(random.IntN(10)) * time.Minute)
			if random.IntN(5) > 0 {
				bucket.at[folder+"result.json"], bucket.at[folder+"seg.dcm"] = at, at
			}
			switch random.IntN(4) {
			case 0:
				bucket.at["exports/pacs/"+folder+"sent.json"] = base
			case 1:
				bucket.at["exports/pacs/"+folder+"failed.json"] = base
			case 2:
				bucket.at["exports/pacs2/"+folder+"sent.json"] = base // another archive's
			}
		}
		bucket.at["exports/pacs/begun.json"] = base
		for key, at := range bucket.at {
			folder, isResult := strings.CutSuffix(key, "result.json")
			_, isSent := bucket.at["exports/pacs/"+folder+"sent.json"]
			_, isFailed := bucket.at["exports/pacs/"+folder+"failed.json"]
			if isResult && strings.Contains(key, model[:12]) && !at.Before(since) && (until.IsZero() || at.Before(until)) {
				want[key] = waiting
				if isFailed {
					want[key] = failed
				}
				if isSent {
					want[key] = sent
				}
			}
			if rest, ok := strings.CutPrefix(key, "exports/pacs/images/"); ok {
				folder, isSent := strings.CutSuffix(rest, "sent.json")
				if isSent {
					total.sent++
				} else if _, also := bucket.at["exports/pacs/images/"+strings.TrimSuffix(folder, "failed.json")+"sent.json"]; !also {
					total.failed++
				}
			}
		}
		got := map[string]state{}
		n := notes{blob: bucket, archive: "pacs", clock: time.Now}
		counted, err := n.survey(t.Context(), model, since, until, func(key string, s state) error { got[key] = s; return nil })
		if err != nil || !maps.Equal(got, want) || counted != total {
			t.Fatalf("%v: got %v and %+v, want %v and %+v of\n%s", err, got, counted, want, total, strings.Join(slices.Sorted(maps.Keys(bucket.at)), "\n"))
		}
		for _, bucket.fail = range []string{"images/", "exports/"} {
			n.blob = bucket
			if _, err := n.survey(t.Context(), model, since, until, func(string, state) error { return nil }); !fault.Is(err, fault.Transient) {
				t.Fatalf("a listing that breaks off: %v", err)
			}
		}
	}
}
