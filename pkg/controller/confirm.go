package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// listPage is how many objects a LIST asks for at once.
const listPage = 500

// confirm lists, from the API server, whoever uses a set: objects of every kind whose
// annotation or backends name it, and backups. Every kind, not those of --targets
// alone: one that was taken off the list may still have targets in maintenance. A kind
// that is not served has no targets; any other failure means that it cannot be known.
// Of a kind that is off the list and may not be read, the backups tell.
func (c *Controller) confirm(ctx context.Context, id pageset.ID) ([]target.Ref, error) {
	if !c.watches.targets.Complete() {
		return nil, errors.New("not every kind has been read yet")
	}
	var users []target.Ref
	for _, k := range c.everyKind() {
		found, err := c.usersOfKind(ctx, k, id)
		if _, served := c.kinds[k.Name]; !served && apierrors.IsForbidden(err) {
			continue
		}
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

// everyKind lists those that are served, then all others that there are.
func (c *Controller) everyKind() []target.Kind {
	all := slices.Clone(c.config.Kinds)
	for _, k := range target.Kinds() {
		if _, served := c.kinds[k.Name]; !served {
			all = append(all, k)
		}
	}
	return all
}

// usersOfKind reads the objects in full, which the watches do not: one that somebody
// copied while it was in maintenance points at the set and has no annotation of ours.
func (c *Controller) usersOfKind(ctx context.Context, k target.Kind, id pageset.ID) ([]target.Ref, error) {
	var users []target.Ref
	for token := ""; ; {
		list, err := c.config.Dynamic.Resource(k.Resource).Namespace(id.Namespace).List(ctx, metav1.ListOptions{Limit: listPage, Continue: token})
		if k.Custom && apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			if object := &list.Items[i]; uses(k, object, id.Name) {
				users = append(users, target.Ref{Kind: k.Name, Namespace: object.GetNamespace(), Name: object.GetName()})
			}
		}
		if token = list.GetContinue(); token == "" {
			return users, nil
		}
	}
}

// uses says whether an object names the set, by its annotation or by a backend. One
// whose shape is not known may: its set stays until somebody has looked at it.
func uses(k target.Kind, object *unstructured.Unstructured, set string) bool {
	if pageset.Ours(object) {
		return false // the set's own Service leads to it
	}
	if object.GetAnnotations()[annotations.PageSet] == set {
		return true
	}
	slots, err := k.Slots(object.Object)
	return err != nil && strings.Contains(fmt.Sprint(object.Object["spec"]), set) ||
		slices.ContainsFunc(slots, func(s swap.Slot) bool { return s.PageSet == set })
}
