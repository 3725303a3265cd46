package pageserver

import (
	"net/http"

	"maintenance-controller.io/pkg/page"
)

// field is one header field of a response; one without a value is not sent.
type field struct{ name, value string }

// headers makes the header of every answer, of whatever kind. What all of them
// carry stands in common, what one kind carries in its method: nothing else
// adds a field that does not depend on the request.
type headers struct {
	set   string
	until string // when maintenance ends, empty if that is not known
}

func (h headers) common() []field {
	return []field{
		{"Cache-Control", "no-store"},
		{"X-Content-Type-Options", "nosniff"},
		{page.MarkerHeader, h.set},
		{page.UntilHeader, h.until},
	}
}

// exposed lists what scripts of other origins may read (Fetch, 3.3.5).
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

// page is of a body in one format, language and coding.
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
		field{"Grpc-Status", "14"}, // UNAVAILABLE, the one that clients retry
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

// unavailable is what clients of remote procedure calls are told.
const unavailable = "the service is under maintenance"
