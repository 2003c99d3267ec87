//go:build (!amd64 && !arm64) || noasm

package cpuid

func host() Features { return Features{} }
