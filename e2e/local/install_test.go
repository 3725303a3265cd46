package local_test

import (
	"strings"
	"testing"

	"maintenance-controller.io/e2e/local"
)

func TestWithImage(t *testing.T) {
	const ours = "maintenance-controller:dev-0123"
	tests := map[string]struct{ give, want string }{
		"the controller and its argument": {
			give: "image: registry.example/a/maintenance-controller:v1\nvalue: registry.example/a/maintenance-controller:v1\n",
			want: "image: " + ours + "\nvalue: " + ours + "\n",
		},
		"quoted":           {give: "  image: \"maintenance-controller:dev\"\n", want: "  image: \"" + ours + "\"\n"},
		"by digest":        {give: "image: r/maintenance-controller@sha256:00\n", want: "image: " + ours + "\n"},
		"the name remains": {give: "name: maintenance-controller\nimage: maintenance-controller:v1\n", want: "name: maintenance-controller\nimage: " + ours + "\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := local.WithImage([]byte(tt.give), ours)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	t.Run("no image", func(t *testing.T) {
		if _, err := local.WithImage([]byte("image: other:v1\n"), ours); err == nil || !strings.Contains(err.Error(), "no image") {
			t.Errorf("got %v, want an error that says so", err)
		}
	})
}
