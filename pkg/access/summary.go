package access

import "time"

// SummaryPath is where a page Pod with doors shows its Summary, on the port of its
// metrics (9090), as JSON.
const SummaryPath = "/access"

// MaxSummary bounds what is read of a Summary, in bytes.
const MaxSummary = 256 << 10

// Summary is what a page Pod knows of whom it let through since it started, and of
// what fails now. It holds names of tokens and no tokens.
type Summary struct {
	Version int    `json:"version"` // of Settings
	PageSet string `json:"pageSet"`
	// Since is when the page Pod started.
	Since time.Time `json:"since"`
	// Through counts requests that were let through, by header, cookie, path, method.
	Through map[By]uint64 `json:"through,omitempty"`
	// Page counts requests that got the page, by reason.
	Page map[Why]uint64 `json:"page,omitempty"`
	// Holders are those who were let through by token or cookie, by the token's name.
	Holders map[string]Holder `json:"holders,omitempty"`
	Secret  Secret            `json:"secret"`
	Doors   []DoorState       `json:"doors"`
}

// Holder is what somebody with a token did.
type Holder struct {
	Requests uint64    `json:"requests"`
	Last     time.Time `json:"last"`
}

// Secret is what a page Pod sees of the Secret that its settings name.
type Secret struct {
	Name string `json:"name,omitempty"` // empty if the settings name none
	// Missing says that there is no such Secret, or that it does not have SecretKey:
	// nobody is let through by it.
	Missing bool `json:"missing,omitempty"`
	// Tokens that let somebody in.
	Tokens int `json:"tokens"`
	// Problems say which lines cannot be used, and quote none.
	Problems []string `json:"problems,omitempty"`
}

// DoorState is how an app behind the page answers.
type DoorState struct {
	Name string `json:"name"`
	// Unreachable says that the app did not take a connection for the last request, and
	// why. It is empty again 2 minutes after.
	Unreachable string    `json:"unreachable,omitempty"`
	Since       time.Time `json:"since,omitzero"` // of Unreachable
	// Failed counts the requests that got the page since the app did not answer.
	Failed uint64 `json:"failed,omitempty"`
}
