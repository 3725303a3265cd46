package bypass

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"maintenance-controller.io/pkg/access"
)

// BenchmarkDoor sends one request after another on one connection. It includes what the
// app takes.
func BenchmarkDoor(b *testing.B) {
	body := make([]byte, 2<<10)
	for _, by := range []struct{ name, header string }{{"path", ""}, {"header", access.Header + ": " + anna + "\r\n"}} {
		b.Run(by.name, func(b *testing.B) {
			app := newApp(b, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
			w := newWorld(b, everything(), app, access.HTTP)
			w.bypass.Log = nil
			c, err := net.Dial("tcp", w.address)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			reader := bufio.NewReader(c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.WriteString(c, "GET /open/a/page HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\nCookie: a=b\r\n"+by.header+"\r\n"); err != nil {
					b.Fatal(err)
				}
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
			}
		})
	}
}
