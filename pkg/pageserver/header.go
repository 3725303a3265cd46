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
type headers struct{ set string }

func (h headers) common() []field {
	return []field{
		{"Cache-Control", "no-store"},
		{"X-Content-Type-Options", "nosniff"},
		{page.MarkerHeader, h.set},
	}
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
		field{"Access-Control-Expose-Headers", "Retry-After, " + page.MarkerHeader})
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
		field{"Access-Control-Expose-Headers", "Grpc-Status, Grpc-Message, Retry-After, " + page.MarkerHeader})
}

func (h headers) connect() http.Header {
	return h.of(
		field{"Content-Type", JSON.contentType()},
		field{"Vary", "Origin"},
		field{"Access-Control-Expose-Headers", "Retry-After, " + page.MarkerHeader})
}

// unavailable is what clients of remote procedure calls are told.
const unavailable = "the service is under maintenance"
