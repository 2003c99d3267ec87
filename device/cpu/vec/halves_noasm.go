//go:build !amd64 || noasm

package vec

func (path Path) doorJoin(*halvesArgs) bool  { return false }
func (path Path) doorSplit(*halvesArgs) bool { return false }
