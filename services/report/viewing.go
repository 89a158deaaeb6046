package report

import (
	"container/list"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/noctua-screening/noctua/pkg/record"
	"github.com/noctua-screening/noctua/services/report/store"
)

const (
	// viewingSpan is how long one entry of the audit log stands for looking at a picture: a look is dozens of tiles.
	viewingSpan = 10 * time.Minute
	// maxViewings bounds memory. Who is forgotten early leaves one entry more.
	maxViewings = 10_000
)

// viewings are the looks at pictures that are in the audit log already. They live in memory: after a restart each look is recorded anew.
type viewings struct {
	clock func() time.Time
	mu    sync.Mutex
	order *list.List // of *viewing, the oldest first
	byKey map[viewingKey]*list.Element
}

// viewingKey is who looks at what.
type viewingKey struct {
	who         record.AuditAgent
	sop, sha256 string
}

type viewing struct {
	viewingKey
	ends time.Time
}

func newViewings(clock func() time.Time) *viewings {
	return &viewings{clock: clock, order: list.New(), byKey: map[viewingKey]*list.Element{}}
}

// open tells whether a look is recorded.
func (v *viewings) open(key viewingKey) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, ok := v.byKey[key]
	return ok && e.Value.(*viewing).ends.After(v.clock())
}

// note remembers that a look was recorded.
func (v *viewings) note(key viewingKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, ok := v.byKey[key]; ok {
		v.order.Remove(e)
	}
	v.byKey[key] = v.order.PushBack(&viewing{key, v.clock().Add(viewingSpan)})
	for v.order.Len() > maxViewings {
		delete(v.byKey, v.order.Remove(v.order.Front()).(*viewing).viewingKey)
	}
}

// viewed records that who asks looks at a picture, once in viewingSpan. Nothing of the picture may be shown before. Requests that come
// at the same moment may leave an entry each: rather two than none.
func (s *Service) viewed(r *http.Request, img store.Image) error {
	key := viewingKey{who: askerOf(r.Context()).agent, sop: img.SOPUID, sha256: img.Sha256}
	if s.viewings.open(key) {
		return nil
	}
	const shaDigits = 16
	err := s.audited(r, record.AuditEntity{Kind: record.EntityPicture, Resource: path.Join(img.SOPUID, img.Sha256[:shaDigits], "view"), PatientKey: img.PatientKey, Clinic: img.Clinic})
	if err == nil {
		s.viewings.note(key)
	}
	return err
}
