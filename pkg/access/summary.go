package access

import "time"

// SummaryPath is where a page Pod with doors serves its Summary as JSON, on the port of
// its metrics (9090).
const SummaryPath = "/access"

// MaxSummary is how much of a Summary is read, in bytes.
const MaxSummary = 256 << 10

// Summary says whom a page Pod has let through since it started, and what fails now. It
// has the names of tokens, and never a token.
type Summary struct {
	Version int    `json:"version"` // Version of the Pod's Settings
	PageSet string `json:"pageSet"` // name of the Pod's page set
	// Since is when the page Pod started.
	Since time.Time `json:"since"`
	// Through counts the requests that were let through, by what let them through.
	Through map[By]uint64 `json:"through,omitempty"`
	// Page counts the requests that got the page, by reason.
	Page map[Why]uint64 `json:"page,omitempty"`
	// Holders are the people who were let through by token or cookie, by the token's name.
	Holders map[string]Holder `json:"holders,omitempty"`
	// Secret is the state of the Secret with the tokens.
	Secret Secret `json:"secret"`
	// Doors are the apps behind the page, in the order of the settings.
	Doors []DoorState `json:"doors"`
}

// Holder says what the holder of a token has done since the page Pod started.
type Holder struct {
	Requests uint64    `json:"requests"` // let through by token or cookie
	Last     time.Time `json:"last"`     // time of the last one
}

// Secret is the state of the Secret that the settings name, as a page Pod sees it.
type Secret struct {
	Name string `json:"name,omitempty"` // empty if the settings name none
	// Missing says that the Secret does not exist, or does not have SecretKey: it lets
	// nobody through.
	Missing bool `json:"missing,omitempty"`
	// Tokens counts the valid tokens.
	Tokens int `json:"tokens"`
	// Problems name the lines that cannot be used, by number; at most ten.
	Problems []string `json:"problems,omitempty"`
}

// DoorState says whether an app behind the page answers.
type DoorState struct {
	Name string `json:"name"` // d1 to d99
	// Unreachable says why the app did not accept a connection for the last request; empty
	// if it did. It is cleared after 2 minutes.
	Unreachable string    `json:"unreachable,omitempty"`
	Since       time.Time `json:"since,omitzero"` // when Unreachable was set first
	// Failed counts the requests that got the page because the app did not answer.
	Failed uint64 `json:"failed,omitempty"`
}
