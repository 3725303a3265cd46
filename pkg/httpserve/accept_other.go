//go:build !unix

package httpserve

func isTemporary(error) bool { return false }
