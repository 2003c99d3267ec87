//go:build !amd64 || noasm

package cpu

func joinDoor(*halvesArgs) bool  { return false }
func splitDoor(*halvesArgs) bool { return false }
