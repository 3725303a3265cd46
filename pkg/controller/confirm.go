package controller

import (
	"context"
	"errors"

	"maintenance-controller.io/pkg/census"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// confirm asks the API server who uses a page set. For a kind that is not in Config.Kinds and may
// not be listed, the backups tell: a kind that was removed from --targets may still have targets in
// maintenance.
func (c *Controller) confirm(ctx context.Context, id pageset.ID) ([]target.Ref, error) {
	if !c.watches.targets.Complete() {
		return nil, errors.New("not every kind has been read yet")
	}
	unread := func(k target.Kind) bool { _, served := c.kinds[k.Name]; return !served }
	var users []target.Ref
	err := census.Census{Client: c.config.Client, Dynamic: c.config.Dynamic, SkipForbidden: unread}.
		Users(ctx, id.Namespace, func(set pageset.ID, user target.Ref) {
			if set == id {
				users = append(users, user)
			}
		})
	return users, err
}
