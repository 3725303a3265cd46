package idle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"maintenance-controller.io/e2e/faultproxy"
)

// Audit is an API server's audit log of one user's requests. It is for controllers whose
// client cannot be wrapped.
type Audit struct{ policy, log string }

// NewAudit writes the audit policy into a folder. The log will be in the same folder.
func NewAudit(dir, user string) (Audit, error) {
	a := Audit{policy: filepath.Join(dir, "audit-policy.yaml"), log: filepath.Join(dir, "audit.log")}
	policy := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\nrules:\n- {level: Metadata, users: ['" + user + "']}\n- {level: None}\n"
	if err := os.WriteFile(a.policy, []byte(policy), 0o600); err != nil {
		return Audit{}, fmt.Errorf("write the audit policy: %w", err)
	}
	return a, nil
}

// Flags are the API server's flags for this log.
func (a Audit) Flags() []string {
	return []string{"--audit-policy-file=" + a.policy, "--audit-log-path=" + a.log}
}

// WaitIdle waits until the user's controller is idle or backs off. It is an error if the
// log has no request of the user at all.
func (a Audit) WaitIdle(timeout time.Duration) error {
	file, err := os.Open(a.log)
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	defer func() { _ = file.Close() }() // it is only read
	c, lines := NewCounter(), bufio.NewReader(file)
	var partial []byte
	if err := drain(lines, &partial, func(faultproxy.Call) { c.all++ }); err != nil {
		return err
	}
	if c.all == 0 {
		return errors.New("the audit log has no request of the controller")
	}
	c.ReconcileFailed() // the log does not tell, so assume that one may have
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				failed <- nil
				return
			case <-time.After(100 * time.Millisecond):
			}
			if err := drain(lines, &partial, c.Count); err != nil {
				failed <- err
				return
			}
		}
	}()
	err = Wait(c, timeout)
	close(stop)
	return errors.Join(err, <-failed)
}

// drain reads what was written since the last call. The last line may not be complete yet: its
// beginning is left in partial for the next call.
func drain(lines *bufio.Reader, partial *[]byte, count func(faultproxy.Call)) error {
	for {
		more, err := lines.ReadBytes('\n')
		*partial = append(*partial, more...)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		var is struct {
			Verb      string
			ObjectRef struct{ Resource, Namespace, Name string }
		}
		if err := json.Unmarshal(*partial, &is); err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		*partial = nil
		count(faultproxy.Call{Verb: is.Verb, Namespace: is.ObjectRef.Namespace, Resource: is.ObjectRef.Resource, Name: is.ObjectRef.Name})
	}
}
