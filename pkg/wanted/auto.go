package wanted

import (
	"time"

	"maintenance-controller.io/pkg/annotations"
)

// Automatic is what the controller itself would do. The zero value is that nobody has
// asked it to do anything.
type Automatic struct{}

// automatic decides where no person has said on or off.
func automatic(annotations.Request, Facts, time.Time) Answer { return Answer{} }
