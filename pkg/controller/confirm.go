package controller

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// listPage is how many objects a LIST asks for at once.
const listPage = 500

// confirm lists, from the API server, whoever uses a set: targets of every kind
// whose annotation names it, and backups. A kind that is not served has no
// targets; any other failure means that it cannot be known.
func (c *Controller) confirm(ctx context.Context, id pageset.ID) ([]target.Ref, error) {
	if !c.watches.targets.Complete() {
		return nil, errors.New("not every kind has been read yet")
	}
	var users []target.Ref
	for _, k := range c.config.Kinds {
		found, err := c.usersOfKind(ctx, k, id)
		if err != nil {
			return nil, fmt.Errorf("list %s in %s: %w", k.Name, id.Namespace, err)
		}
		users = append(users, found...)
	}
	backups, err := c.config.Client.CoreV1().ConfigMaps(id.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: annotations.ComponentLabel + "=" + annotations.ComponentBackup + "," + annotations.PageSetLabel + "=" + id.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("list backups in %s: %w", id.Namespace, err)
	}
	for i := range backups.Items {
		ref, _, _ := backup.Parse(&backups.Items[i])
		users = append(users, ref)
	}
	return users, nil
}

func (c *Controller) usersOfKind(ctx context.Context, k target.Kind, id pageset.ID) ([]target.Ref, error) {
	var users []target.Ref
	for token := ""; ; {
		list, err := c.config.Metadata.Resource(k.Resource).Namespace(id.Namespace).List(ctx, metav1.ListOptions{Limit: listPage, Continue: token})
		if k.Custom && apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, m := range list.Items {
			if m.Annotations[annotations.PageSet] == id.Name {
				users = append(users, target.Ref{Kind: k.Name, Namespace: m.Namespace, Name: m.Name})
			}
		}
		if token = list.Continue; token == "" {
			return users, nil
		}
	}
}
