package swap

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUnknownFieldsAreKept: an earlier version that takes over rewrites the record, and
// must not remove what it does not know.
func TestUnknownFieldsAreKept(t *testing.T) {
	const text = `{"v":1,"page":"spring","slots":[` +
		`{"host":"a","path":"/","type":"Prefix","at":0,"value":"app","asked":{"b":[1, 2]},"door":7},` +
		`{"host":"gone","path":"/","type":"Prefix","at":1,"value":"old","door":8}],"by":"anna","until":{"x":null}}`
	known, err := ParseRecord(text)
	require.NoError(t, err)
	p, err := To(setB, []Slot{slot(0, path("a", "/"), setA)}, known, roomy)
	require.NoError(t, err)
	again, err := ParseRecord(p.Record.String())
	require.NoError(t, err)
	assert.Equal(t, p.Record.String(), again.String())
	for _, part := range []string{`"door":7`, `"door":8`, `"by":"anna"`, `"until":{"x":null}`} {
		assert.Contains(t, again.String(), part)
	}
	assert.Contains(t, Record{}.FillGaps(known).String(), `"by":"anna"`, "the backup fills this gap too")
	assert.Equal(t, record(original(0, path("a", "/"), "app")).String(), `{"v":1,"slots":[{"host":"a","path":"/","type":"Prefix","at":0,"value":"app"}]}`)
}

// TestOldestOriginalsAreDroppedFirst: originals of removed slots are limited by the
// available room; originals of slots on a page are not.
func TestOldestOriginalsAreDroppedFirst(t *testing.T) {
	slots := []Slot{slot(0, path("a", "/"), setA), slot(1, path("b", "/"), setA), slot(2, path("c", "/"), setA), slot(3, path("d", "/"), setA)}
	known := record()
	for at, s := range slots {
		known.Slots = append(known.Slots, original(at, s.ID, strings.Repeat(s.ID.Host, 50)))
	}
	dropped := func(p Plan) (hosts []string) {
		for _, o := range p.Dropped {
			hosts = append(hosts, o.Host)
		}
		return hosts
	}
	first, err := To(setA, slots[:3], known, roomy) // d is removed
	require.NoError(t, err)
	assert.Empty(t, first.Dropped)
	second, err := To(setA, slots[:2], first.Record, roomy) // c is removed
	require.NoError(t, err)
	require.Len(t, second.Record.Slots, 4)

	tight, err := To(setA, slots[:2], second.Record, len(second.Record.String())-1)
	require.NoError(t, err)
	assert.Equal(t, []string{"d"}, dropped(tight))
	assert.Len(t, tight.Record.Slots, 3)
	none, err := To(setA, slots[:2], second.Record, 10)
	require.NoError(t, err)
	assert.Equal(t, []string{"c", "d"}, dropped(none))
	assert.Len(t, none.Record.Slots, 2, "those on a page stay, whatever room there is")
}

// TestOriginalOfARemovedSlotIsKept: the last slot on a page is written back while another
// one is removed for a moment.
func TestOriginalOfARemovedSlotIsKept(t *testing.T) {
	known := record(original(0, path("a", "/"), "app"), original(1, path("b", "/"), "api"))
	p, err := To(setA, []Slot{slot(0, path("a", "/"), "app")}, known, roomy)
	require.NoError(t, err)
	back, err := To(setA, []Slot{slot(0, path("a", "/"), setA), slot(1, path("b", "/"), setA)}, p.Record, roomy)
	require.NoError(t, err)
	assert.Empty(t, back.Lost)
	assert.Equal(t, map[int]string{0: "app", 1: "api"}, written(Back([]Slot{slot(0, path("a", "/"), setA), slot(1, path("b", "/"), setA)}, back.Record)))
}
