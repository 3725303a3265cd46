package swap

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// unknownFields are the fields of a JSON object that this version does not know. A later
// version wrote them and must find them again, so they survive a rewrite by this one.
// Entries of owners have none, because they are merged with what is read from the object.
type unknownFields map[string]json.RawMessage

// unknownFieldsOf gives the fields of an object that a struct has no place for; nil for
// none.
func unknownFieldsOf(text []byte, known reflect.Type) (unknownFields, error) {
	var all unknownFields
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(key string, _ json.RawMessage) bool {
		return slices.ContainsFunc(reflect.VisibleFields(known), func(f reflect.StructField) bool {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			return name != "" && strings.EqualFold(name, key) // as encoding/json matches them
		})
	})
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// appendTo adds the fields to an object that is not empty, sorted by name.
func (r unknownFields) appendTo(object []byte) []byte {
	if len(r) == 0 {
		return object
	}
	out := bytes.NewBuffer(bytes.TrimSuffix(object, []byte("}")))
	for _, key := range slices.Sorted(maps.Keys(r)) {
		name, _ := json.Marshal(key) //nolint:errchkjson // a string
		out.WriteString(",")
		out.Write(name)
		out.WriteString(":")
		out.Write(r[key])
	}
	out.WriteString("}")
	return out.Bytes()
}

// MarshalJSON writes what a later version wrote as well.
func (r Record) MarshalJSON() ([]byte, error) {
	type plain Record
	text, err := json.Marshal(plain(r))
	return r.unknown.appendTo(text), err
}

// UnmarshalJSON keeps what a later version wrote.
func (r *Record) UnmarshalJSON(text []byte) (err error) {
	type plain Record
	if err = json.Unmarshal(text, (*plain)(r)); err == nil {
		r.unknown, err = unknownFieldsOf(text, reflect.TypeFor[Record]())
	}
	return err
}

// MarshalJSON writes what a later version wrote as well.
func (o Original) MarshalJSON() ([]byte, error) {
	type plain Original
	text, err := json.Marshal(plain(o))
	return o.unknown.appendTo(text), err
}

// UnmarshalJSON keeps what a later version wrote.
func (o *Original) UnmarshalJSON(text []byte) (err error) {
	type plain Original
	if err = json.Unmarshal(text, (*plain)(o)); err == nil {
		o.unknown, err = unknownFieldsOf(text, reflect.TypeFor[Original]())
	}
	return err
}
