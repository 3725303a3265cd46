package pageserver

import (
	"net/http"

	"maintenance-controller.io/pkg/page"
)

// field is a header field of a response. It is not sent if the value is empty.
type field struct{ name, value string }

// common are the fields of every answer that a page Pod makes itself.
func common(set string) []field {
	return []field{
		{"Cache-Control", "no-store"},
		{"X-Content-Type-Options", "nosniff"},
		{page.MarkerHeader, set},
	}
}

// SetCommon sets the fields of every answer that a Pod of a page set makes itself, for those that
// other handlers make.
func SetCommon(h http.Header, set string) {
	for _, f := range common(set) {
		if f.value != "" {
			h.Set(f.name, f.value)
		}
	}
}

// headers makes the header of every kind of answer: common has the fields of all answers,
// and each method those of one kind. Nothing else adds fields that do not depend on the
// request.
type headers struct {
	set   string // name of the page set
	until string // when maintenance ends; empty if that is not known
}

func (h headers) common() []field {
	return append(common(h.set), field{page.UntilHeader, h.until})
}

// exposed lists the fields that scripts of other origins may read (Fetch, 3.3.5).
func (h headers) exposed(own string) field {
	value := own + "Retry-After, " + page.MarkerHeader
	if h.until != "" {
		value += ", " + page.UntilHeader
	}
	return field{"Access-Control-Expose-Headers", value}
}

func (h headers) of(own ...field) http.Header {
	header := http.Header{}
	for _, f := range append(own, h.common()...) {
		if f.value != "" {
			header.Set(f.name, f.value)
		}
	}
	return header
}

// page is the header of a body in one format, language and coding.
func (h headers) page(f Format, language, coding, policy string) http.Header {
	if f != HTML {
		policy = ""
	}
	return h.of(
		field{"Content-Type", f.contentType()},
		field{"Content-Language", language},
		field{"Content-Encoding", coding},
		field{"Content-Security-Policy", policy},
		field{"Vary", "Accept, Accept-Language, Accept-Encoding, Origin"},
		h.exposed(""))
}

func (h headers) preflight() http.Header {
	return h.of(
		field{"Access-Control-Max-Age", "0"},
		field{"Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"})
}

func (h headers) ready() http.Header { return h.of(field{"Content-Type", Text.contentType()}) }

func (h headers) grpc(contentType string) http.Header {
	return h.of(
		field{"Content-Type", contentType},
		field{"Grpc-Status", "14"}, // UNAVAILABLE, which clients retry
		field{"Grpc-Message", unavailable},
		field{"Vary", "Origin"},
		h.exposed("Grpc-Status, Grpc-Message, "))
}

func (h headers) connect() http.Header {
	return h.of(
		field{"Content-Type", JSON.contentType()},
		field{"Vary", "Origin"},
		h.exposed(""))
}

// unavailable is the message for clients of remote procedure calls.
const unavailable = "the service is under maintenance"
